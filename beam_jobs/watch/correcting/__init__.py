"""Corrections of numbers that are in a stream."""
