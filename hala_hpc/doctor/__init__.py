"""What would go wrong on this cluster, and the fix."""
