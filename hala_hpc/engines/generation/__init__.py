"""Rows through an engine that generates text."""
