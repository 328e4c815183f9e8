"""Rows and what they are read from and written to: corpora, model folders, scores."""
