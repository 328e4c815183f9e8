"""Failures of a round of jobs: evidence, class, policy, and what the next round changes."""
