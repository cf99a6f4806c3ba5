"""A dataset directory: its manifest, and its splits as sequences and batches."""
