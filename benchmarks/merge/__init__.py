"""How fast models are merged, and what it reads, beside mergekit."""
