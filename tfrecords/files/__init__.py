"""TFRecord files anywhere: framing, names, indexes, storage."""
