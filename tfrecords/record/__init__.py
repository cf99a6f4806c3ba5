"""One example and its bytes."""
