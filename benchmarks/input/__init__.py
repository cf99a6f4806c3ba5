"""Shards to shuffled training batches."""
