"""What `hala_hpc.fetch` does: ask the hub, count the space, download, verify, prove."""
