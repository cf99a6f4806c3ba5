"""Dataset directories: what is in them, whether they are whole, and what they look like."""

import sys

from tfrecords.cli import Command, main

COMMANDS = (
    Command("inspect", "tell what a dataset directory holds", "tfrecords.overview"),
    Command("validate", "check every checksum, count and record against the manifest", "tfrecords.validate"),
    Command("index", "write an index beside each TFRecord file, for random access", "tfrecords.index_command"),
    Command("export", "write a dataset as Parquet, Arrow or WebDataset files", "tfrecords.export"),
    Command("show", "draw a sheet of a split's pictures with their labels", "tfrecords.sheet"),
)

if __name__ == "__main__":
    sys.exit(main("python -m tfrecords", __doc__ or "", COMMANDS))
