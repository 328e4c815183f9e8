"""The modules of minislurm: the cluster's folder, its daemons, and its errors."""
