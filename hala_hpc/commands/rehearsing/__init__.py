"""What a rehearsal has shown: measured, projected to the full run, and told on a page."""
