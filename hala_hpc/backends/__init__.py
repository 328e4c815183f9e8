"""Where jobs run: on this machine or on SLURM. Given functions, names and numbers."""
