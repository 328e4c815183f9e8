"""Other tools on the same work, each in its own environment."""
