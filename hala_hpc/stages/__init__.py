"""The pipeline: one file for each stage."""
