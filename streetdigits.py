"""Labelled pictures of numbers to TFRecords and trained readers: every command of the three packages.

`streetdigits COMMAND` takes the flags of `python -m beam_jobs|tfrecords|trainer COMMAND`.
`export` is the trainer's and writes a model; the dataset's, which
`python -m tfrecords` calls `export` too, is `export-records` here.
"""

import dataclasses
import sys

from beam_jobs.__main__ import COMMANDS as _BEAM_JOBS
from tfrecords.__main__ import COMMANDS as _TFRECORDS
from tfrecords._version import __version__
from tfrecords.cli import Command, main
from trainer.__main__ import COMMANDS as _TRAINER
from trainer.__main__ import start

__all__ = ["COMMANDS", "__version__", "run", "start"]

_RENAMED = {"tfrecords.commands.export": "export-records"}
"""Names of the commands whose own name is taken, by module: people export models more often than datasets."""


def _in_one_list(command: Command) -> Command:
    return dataclasses.replace(command, name=_RENAMED.get(command.module, command.name))


COMMANDS = tuple(_in_one_list(command) for command in (*_BEAM_JOBS, *_TFRECORDS, *_TRAINER))
"""Commands in the order of the data's way. Their modules are imported when they are called."""


def run() -> int:
    """Runs the command of the process's arguments; returns its exit code."""
    return main("streetdigits", __doc__ or "", COMMANDS, start=start)


if __name__ == "__main__":
    sys.exit(run())
