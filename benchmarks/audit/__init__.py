"""Planted mistakes of a dataset, and those that `trainer audit` finds."""
