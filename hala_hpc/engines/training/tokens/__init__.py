"""From conversations to token files."""
