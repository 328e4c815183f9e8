"""Stages that only the demo uses."""
