"""Task files of our groups: YAML as lm-eval reads it, and the functions that make prompts."""
