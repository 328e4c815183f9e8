"""Models and what they run on: files, sizes, GPUs."""
