"""`prepare` beside `datasets` on the same rows."""
