"""Trainings that are stopped in every way."""
