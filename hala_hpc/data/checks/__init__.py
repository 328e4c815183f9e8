"""Checks of translations and of pairs."""
