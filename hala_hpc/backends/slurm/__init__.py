"""SLURM: submit, query and cancel jobs. The output of its commands is parsed only here."""
