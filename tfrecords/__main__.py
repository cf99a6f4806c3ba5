"""Dataset directories: what is in them, whether they are whole, and what they look like."""

import sys

from tfrecords.cli import Command, main

COMMANDS = (
    Command("inspect", "tell what a dataset directory holds", "tfrecords.commands.inspect"),
    Command("validate", "check every checksum, count and record against the manifest", "tfrecords.commands.validate"),
    Command("index", "write an index beside each TFRecord file, for random access", "tfrecords.commands.index"),
    Command("export", "write a dataset as Parquet, Arrow or WebDataset files", "tfrecords.commands.export"),
    Command("show", "draw a sheet of a split's pictures with their labels", "tfrecords.commands.show"),
)

if __name__ == "__main__":
    sys.exit(main("python -m tfrecords", __doc__ or "", COMMANDS))
