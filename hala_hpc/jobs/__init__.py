"""Rounds, submission, attempts with their records and logs, and the handling of failures."""
