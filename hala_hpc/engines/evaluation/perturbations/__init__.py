"""Changes of the texts of benchmark items, to measure what spelling and code-switching cost."""
