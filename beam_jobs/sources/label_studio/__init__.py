"""Label Studio: exported tasks and their annotations."""
