"""Workers and gates that are killed at any instant: nothing is lost, doubled or torn."""
