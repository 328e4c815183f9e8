"""Intervals of scores, paired differences of models, and what a table of them can resolve."""
