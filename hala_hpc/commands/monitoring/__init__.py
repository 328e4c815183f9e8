"""Status of the nodes of a run, and the log that explains it."""
