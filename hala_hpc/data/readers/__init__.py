"""Readers of files and data sets, and the adapters that map their rows."""
