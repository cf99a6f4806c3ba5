"""Losses, decoding, inference and metrics."""
