"""Plans of a launch: what runs, what it costs, and how it is submitted."""
