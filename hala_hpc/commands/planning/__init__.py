"""What a plan is, and what it will take."""
