"""Corpora: Parquet shards and an index of their rows."""
