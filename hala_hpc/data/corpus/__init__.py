"""Corpora: shards of Parquet with an index."""
