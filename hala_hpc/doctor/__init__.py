"""Checks of a cluster before a run: what would fail, and the fix."""
