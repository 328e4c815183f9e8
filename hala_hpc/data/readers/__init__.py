"""Readers of files and data sets, and adapters of their rows."""
