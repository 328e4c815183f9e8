"""`prepare` compared with `datasets` on the same rows."""
