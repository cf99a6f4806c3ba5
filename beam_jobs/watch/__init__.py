"""Labelled pictures that keep arriving, to a dataset that grows by snapshots."""
