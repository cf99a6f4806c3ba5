"""A job on a cluster that makes the shards, and the side of the watcher that asks for them."""
