"""The parts of minislurm: the cluster's folder, its daemons, and how it stops."""
