"""Results for others: cards in the hub's format, and folders that are ready for upload."""
