"""Shared by the benchmarks: a process per way, and tables."""
