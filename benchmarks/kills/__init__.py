"""Workers and gates that are killed at any time: no row is lost, duplicated or torn."""
