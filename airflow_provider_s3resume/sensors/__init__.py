"""Wait until there is something to sync."""
