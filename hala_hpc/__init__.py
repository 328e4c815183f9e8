"""The Hala pipeline, from corpus to report, on one machine or a SLURM cluster."""

__version__ = "0.2.0"
