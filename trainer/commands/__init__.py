"""The subcommands of `python -m trainer`."""
