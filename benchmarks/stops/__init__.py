"""Trainings that are stopped in every way there is."""
