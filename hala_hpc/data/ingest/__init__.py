"""Ingest of files of any size into shards: read in splits, spill, sort, write, verify."""
