"""Measurements beside what others have, one command each: `python -m benchmarks.<name>`."""
