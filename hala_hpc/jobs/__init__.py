"""From a plan to a finished node: attempts, their records and logs, and what follows from failures."""
