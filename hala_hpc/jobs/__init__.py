"""Attempts, their records and logs, and what follows from failures: from a plan to its end."""
