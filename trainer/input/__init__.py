"""Shards to batches, and pictures to what a model takes."""
