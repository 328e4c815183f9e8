"""From files of any size to shards: read in splits, spilled, sorted, written, verified."""
