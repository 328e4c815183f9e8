"""Models and their hardware: files, sizes, GPUs."""
