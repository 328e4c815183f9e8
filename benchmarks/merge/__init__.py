"""Time and reads of a merge, compared with mergekit."""
