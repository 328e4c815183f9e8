"""Steps of `hala_hpc.fetch`: query the hub, check disk space, download, verify, open offline."""
