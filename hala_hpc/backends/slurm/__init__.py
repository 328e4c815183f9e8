"""SLURM: submit, query, cancel; what its commands print is read here and nowhere else."""
