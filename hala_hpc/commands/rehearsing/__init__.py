"""Results of a rehearsal: measurements, projection to the full run, and the page."""
