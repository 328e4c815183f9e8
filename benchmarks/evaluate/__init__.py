"""Choices of questions scored by our engine, beside lm-eval's hf backend."""
