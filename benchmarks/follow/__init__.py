"""Benchmark of training that follows a stream: where it ends, compared with training on everything at once."""
