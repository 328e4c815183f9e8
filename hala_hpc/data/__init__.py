"""Rows and what they are read from and written to: corpora, files of others, model folders."""
