"""Damages to the files of a finished run, and whether the same line heals them."""
