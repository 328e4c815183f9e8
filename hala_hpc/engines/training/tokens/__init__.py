"""Convert conversations into token files."""
