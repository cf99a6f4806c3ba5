"""Pictures of numbers to TFRecords: download or draw the pictures, then prepare them on Apache Beam."""

import atexit
import os
import signal
import sys
from types import FrameType


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"stopped: interrupted\n" if number == signal.SIGINT else b"stopped: terminated\n")
    os._exit(128 + number)


if __name__ == "__main__":
    # Before the imports below, which take long enough for a Ctrl-C. Signals that are ignored, as under nohup, stay so.
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
            # After all is done, Python would reset it to the default, which kills.
            atexit.register(signal.signal, number, signal.SIG_IGN)

from tfrecords.cli import Command, main  # noqa: E402

COMMANDS = (
    Command("sample", "draw house numbers, laid out as SVHN Format 1", "beam_jobs.sample.command", extra="sample"),
    Command("download", "download SVHN's published archives, check and unpack them", "beam_jobs.download.command"),
    Command(
        "prepare",
        "crop, jitter and write a source's pictures as TFRecords",
        "beam_jobs.prepare.command",
        passes_through=True,
        extra="beam",
    ),
)

if __name__ == "__main__":
    sys.exit(main("python -m beam_jobs", __doc__ or "", COMMANDS))
