"""From a model's outputs to predictions and scores: losses, decoding, inference, metrics and prediction files."""
