"""Mistakes of a dataset, ranked: wrong labels and boxes, duplicates, leaks between splits, and outliers."""
