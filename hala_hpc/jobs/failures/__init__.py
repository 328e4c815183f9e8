"""Failures of a round of jobs: evidence, failure class, policy, and remedies of the next round."""
