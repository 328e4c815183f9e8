"""Many short runs on a real SLURM under random blows, watched and checked from outside."""
