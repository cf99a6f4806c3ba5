"""What keeps a stream small: merges, and the deletion of what nothing names."""
