"""Many short runs on a real SLURM with injected faults, checked from outside."""
