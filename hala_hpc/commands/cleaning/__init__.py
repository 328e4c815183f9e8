"""What may go from a work folder, its removal, and the archive of a finished run."""
