"""Benchmarks: each prints ratios between ways of doing the same work; see README.md."""
