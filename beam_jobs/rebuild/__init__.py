"""A dataset made again from its manifest, and what differs from the one that the manifest describes."""
