"""Texts cut into segments for a translator, with what must not change masked."""
