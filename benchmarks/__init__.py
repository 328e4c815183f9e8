"""Benchmarks against other tools, one command each: `python -m benchmarks.<name>`."""
