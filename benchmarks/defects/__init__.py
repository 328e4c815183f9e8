"""Planted translation defects, and how many of them the checks detect."""
