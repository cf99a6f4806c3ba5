"""`python -m beam_jobs status`: how a stream fares."""

import argparse
import os
import socket

from beam_jobs.watch.status import ENDED, Status
from beam_jobs.watch.stream import Stream
from beam_jobs.watch.summary import counted_words
from tfrecords.dataset.manifest import READ
from tfrecords.dataset.snapshots import STREAM, is_stream
from tfrecords.errors import UserError
from tfrecords.files.place import Place, place

EPILOG = """\
examples:
  python -m beam_jobs status STREAM
  the same for programs:
    cat STREAM/status.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("stream", type=place, metavar="STREAM", help="stream, local or at an address, as s3://")


def run(args: argparse.Namespace) -> int:
    """Prints the status of a stream.

    Raises:
      UserError: There is no stream.
    """
    stream: Place = args.stream
    status = Status.load(stream)
    if status is None and not is_stream(stream):
        raise UserError(f"{stream} must be a stream: it has no {STREAM}.", stream)
    if status is None:
        print(f"{stream}: no watcher has written a status yet")
        return 0
    # A stream has a status before its first batch, and with it a configuration.
    words = counted_words(Stream.load(stream).config.task if is_stream(stream) else READ)
    print("".join(f"{title:<11}{text}\n" for title, text in _rows(status, *words)), end="")
    return 0


def _rows(status: Status, counted: str, stored: str) -> list[tuple[str, str]]:
    """Returns a title and a text for each line.

    Args:
      status: Status.
      counted: What is counted in annotations.
      stored: What is counted in records.
    """
    number = "none yet" if status.snapshot is None else str(status.snapshot)
    held = f"{status.batches:,} batches, {status.pictures:,} {counted}, {status.examples:,} {stored}"
    rows = [("snapshot", f"{number}: {held}")]
    for title, counts in (("rejected", status.dead_letters), ("refused", status.refused)):
        if counts:
            rows.append((title, ", ".join(f"{count:,} {reason}" for reason, count in counts.items())))
    if status.corrections_applied or status.corrections_not_found:
        missing = f", and {status.corrections_not_found:,} not found" if status.corrections_not_found else ""
        plural = "s" * (status.corrections_applied != 1)
        rows.append(("corrected", f"{status.corrections_applied:,} number{plural}{missing}"))
    waiting = f", the oldest for {status.oldest_pending_s:,.0f} s" if status.pending else ""
    rows.append(("waiting", f"{status.pending:,} batches{waiting}"))
    if status.pictures_per_s:
        rows.append(("speed", f"{status.pictures_per_s:,.0f} {counted}/s"))
    if status.latency_s:
        rows.append(("latency", f"median {status.latency_s.p50:g} s, 95 % below {status.latency_s.p95:g} s"))
    rows.append(("watcher", _watcher(status)))
    return rows


def _watcher(status: Status) -> str:
    """Returns what is known of the watcher's process."""
    process = f"process {status.pid} on {status.host}"
    if status.state == ENDED:
        return "none runs: the last one has ended"
    if status.host != socket.gethostname():
        return f"{process}, {status.state} when it wrote this"
    try:
        os.kill(status.pid, 0)
    except ProcessLookupError:
        return f"none runs: {process} is gone; the same command resumes"
    except PermissionError:
        pass
    return f"{process}, {status.state}"
