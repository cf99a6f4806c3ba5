"""Inspects, validates, indexes, exports, compares, draws and browses dataset directories."""

import sys

from tfrecords.cli import Command, main
from tfrecords.interrupts import keep_exit_code

COMMANDS = (
    Command("inspect", "print the content of a dataset directory", "tfrecords.commands.inspect"),
    Command("validate", "check every checksum, count and record against the manifest", "tfrecords.commands.validate"),
    Command("index", "write an index next to each TFRecord file, for random access", "tfrecords.commands.index"),
    Command("export", "write a dataset as Parquet, Arrow or WebDataset files", "tfrecords.commands.export"),
    Command("diff", "compare two dataset directories, or snapshots of a stream", "tfrecords.commands.diff"),
    Command("show", "draw a sheet of a split's images with their labels", "tfrecords.commands.show"),
    Command("browse", "serve pages of a dataset, picture by picture", "tfrecords.commands.browse", extra="browse"),
)

if __name__ == "__main__":
    sys.exit(keep_exit_code(lambda: main("python -m tfrecords", __doc__ or "", COMMANDS)))
