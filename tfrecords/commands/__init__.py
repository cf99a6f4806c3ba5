"""The subcommands of `python -m tfrecords`."""
