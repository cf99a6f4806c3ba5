"""`python -m beam_jobs watch`: batches of pictures, as they arrive, to a dataset that grows while it is read."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beam_jobs import filesystem
from beam_jobs.job.given import absolute_path
from beam_jobs.job.words import refuse_local_on_dataflow
from beam_jobs.lineage import STREAMING, Run, following, read_from, written
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.execute import RESUMES, execute, is_of_this_process, parse_beam_options
from beam_jobs.sources import load_source
from beam_jobs.watch.ahead import LookAhead
from beam_jobs.watch.cluster.make import ClusterJob, making_on_cluster
from beam_jobs.watch.config import WITHOUT, WatchJob, check_given, new_config
from beam_jobs.watch.inboxes.logs import LINES, is_log
from beam_jobs.watch.ledger import LOG
from beam_jobs.watch.stream import STATUS, Stream
from beam_jobs.watch.summary import counted_words
from tfrecords.cards.facts import ABOUT, save_about
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import READ, Manifest
from tfrecords.dataset.snapshots import STREAM, is_stream
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place
from tfrecords.flags import add_flags, from_flags
from tfrecords.interrupts import ending_at_once, interruptible

if TYPE_CHECKING:
    from beam_jobs.watch.cycle import Watcher
    from beam_jobs.watch.inboxes.inbox import Inbox

EPILOG = """\
examples:
  every folder that arrives in INBOX, as SVHN unpacks, becomes part of STREAM:
    python -m beam_jobs watch --source svhn --input INBOX --output STREAM
  read it while it grows, or as it was at snapshot 42:
    python -m tfrecords inspect STREAM
    python -m tfrecords inspect STREAM --snapshot 42
  what is there now, as from cron:
    ... --once
  batches out of the way once they are in a snapshot:
    ... --after archive:DONE
  the watcher of a monitored machine:
    ... --metrics-port 9200
  complete pictures, for a model that finds the numbers in a photo:
    python -m beam_jobs watch --source coco --task find --max-length 5 \\
      --input INBOX --output STREAM
  labels in a table, whose longest number must be known before:
    python -m beam_jobs watch --source table --max-length 8 \\
      --input INBOX --output STREAM
  a cluster makes the records, and this process what it does not deliver:
    ... --cluster --runner PortableRunner --job_endpoint HOST:8099
  messages of Kafka, or lines that are appended to files (docs/streaming.md):
    ... --source table --max-length 8 --input kafka://HOST:9092/TOPIC
    ... --source table --max-length 8 --input lines://FOLDER

To change the text of a number that is in the stream, or to delete it, drop a
folder with corrections.csv, of the columns key, action (relabel or delete) and
text. It may come before the number: then it waits for it.

A batch is a folder that --source reads. Write it under a name that begins with
a dot and rename it, or write --marker into it last; else it is read once it has
not changed for --settle seconds and every named picture is complete.

Each generation is a dataset directory of its own, and each snapshot a list of
them that never changes. After an interruption, however it came, run the same
command again. The settings are fixed at first start; flags may be left out
then.
"""


_BEFORE_START = (LOG, STATUS, "spool", ABOUT)
"""What a stream may have before its first batch is accepted: refusals, the status, messages of a log, the licence."""
_MODULES = {"pyyaml": "yaml"}
"""Names of the modules of packages that have another name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options: those of the job and those of the stream's configuration."""
    add_flags(parser, WatchJob, ClusterJob, PrepareConfig, About, without=WITHOUT)


def run(args: argparse.Namespace, beam_options: list[str]) -> int:
    """Watches until the job's end, and prints a line for each snapshot.

    Args:
      args: Parsed options.
      beam_options: Options that the parser does not know: Beam's.

    Raises:
      UserError: An option or the input cannot be used, or another process has the stream.
    """
    values = vars(args)
    job: WatchJob = from_flags(WatchJob, values)
    # The ledger keeps the places of batches, and a later start may be in another folder.
    job = replace(job, input=_absolute_input(job.input), output=absolute_path(job.output))
    cluster: ClusterJob = from_flags(ClusterJob, values)
    about: About = from_flags(About, values)
    if "takeover" in values and not cluster.cluster:
        raise UserError("--takeover is about a job on a cluster: give --cluster too.", values["takeover"])
    _refuse_complete(beam_options)
    filesystem.refuse_store_options(beam_options)
    refuse_local_on_dataflow(beam_options, job.places)
    stream = Place(job.output)
    if not is_stream(stream):
        new_config(values)
    with ending_at_once():
        # Those of a job on a cluster go to the process that submits it.
        options = parse_beam_options([] if cluster.cluster else beam_options, "watch", "workers" in values)
        # Now, so that a library that is missing is said before anything is made.
        from beam_jobs.prepare import local  # noqa: F401
        from beam_jobs.watch.lock import lock_stream
        from beam_jobs.watch.perform import QUIET_S, Make, maker

        for package in load_source(job.source).packages:
            importlib.import_module(_MODULES.get(package, package))
        _check_input(job)
        _refuse_overlap(job)

    at_once = is_of_this_process(options) and not cluster.cluster
    with _interruptible(at_once), lock_stream(stream), contextlib.ExitStack() as stack:
        config = _configuration(stream, values)
        save_about(stream, about)
        inbox = _inbox(job, stream, config.config if isinstance(config, Stream) else config)
        ahead = LookAhead()
        make: Make = maker(job.worker_count, options, args.verbose, ahead.running)
        if cluster.cluster:
            make = stack.enter_context(
                making_on_cluster(
                    cluster,
                    stream,
                    beam_options,
                    lambda plan: execute(plan, job.worker_count, None, args.verbose, QUIET_S),
                )
            )
        _watch(job, stream, config, inbox, make, ahead)
    return 0


def _refuse_complete(words: list[str]) -> None:
    """Checks that no flag of `prepare` was given that is about a complete dataset.

    Raises:
      UserError: One was.
    """
    flags = {f"--{name.replace('_', '-')}" for name in WITHOUT}
    if given := [word for word in words if word.partition("=")[0] in flags]:
        raise UserError(f"A stream has no end, so {', '.join(sorted(flags))} do not apply to it.", given[0])


def _absolute_input(text: str) -> str:
    """Returns an input whose path, if it is one, does not depend on the folder of this call."""
    if not is_log(text):
        return absolute_path(text)
    return LINES + absolute_path(text.removeprefix(LINES)) if text.startswith(LINES) else text


def _check_input(job: WatchJob) -> None:
    """Checks that batches can arrive in the input. In a store nothing may be there yet, but the bucket must be.

    Raises:
      UserError: It is no folder, or there is none; or it is a log, and its batches are to be moved.
    """
    if job.input != job.input.encode(errors="replace").decode():
        raise UserError("The path of --input must be UTF-8, as the ledger keeps it.", printable(job.input))
    if is_log(job.input):
        if job.after != "keep":
            rule = "The messages of a log stay in it, and their copies go by themselves: leave --after out."
            raise UserError(rule, job.after)
        return
    place = Place(job.input)
    if not place.has_listing:
        raise UserError("--input must be a folder, or a prefix of a store: servers of the web list no files.", place)
    if place.is_dir():
        return
    bucket = place
    while place.is_remote and bucket.parent != bucket:
        bucket = bucket.parent
    if not (place.is_remote and bucket.is_dir()):
        raise UserError("--input must be a folder that exists, where batches arrive.", place)


def _refuse_overlap(job: WatchJob) -> None:
    """Checks that neither the stream nor what is moved to the archive is taken for a batch, or for a part of a stream.

    Raises:
      UserError: The input, the output or the archive is in another one of them where it must not be.
    """
    stream = _real(job.output)
    if not is_log(job.input) or job.input.startswith(LINES):
        inbox = _real(job.input.removeprefix(LINES))
        if inbox.startswith(stream) or stream.startswith(inbox):
            raise UserError("--input and --output must be apart: neither in the other one.", job.output)
    kind, _, archive = job.after.partition(":")
    if kind == "archive" and _real(archive).startswith(stream):
        raise UserError("The archive of --after must be outside of --output.", archive)


def _real(text: str) -> str:
    """Returns the address or the path of a folder, without links, with a slash at its end."""
    place = Place(text)
    return f"{place if place.is_remote else place.path.resolve()}/"


@contextlib.contextmanager
def _interruptible(at_once: bool) -> Iterator[None]:
    """Ends the block with one line at a signal.

    Args:
      at_once: Whether the block may be killed at any moment; else its job on a cluster is cancelled.
    """
    if at_once:
        with ending_at_once(RESUMES):
            yield
        return
    try:
        with interruptible():
            yield
    except KeyboardInterrupt as interrupt:
        interrupt.args = interrupt.args or (RESUMES,)
        raise


def _configuration(stream: Place, values: dict[str, Any]) -> Stream | PrepareConfig:
    """Returns the stream that is there, or the configuration of one to start.

    Raises:
      UserError: The flags differ from those of the stream, or the folder is of another purpose.
    """
    if is_stream(stream):
        found = Stream.load(stream)
        check_given(found, values)
        return found
    names = filesystem.list_names(stream)
    foreign = [name for name in names if not name.startswith(".") and name not in _BEFORE_START]
    if foreign:
        rule = f"{stream} must be a stream, with a {STREAM}, or a new or empty folder: give another --output."
        raise UserError(rule, foreign[0])
    return new_config(values)


def _inbox(job: WatchJob, stream: Place, config: PrepareConfig) -> Inbox:
    """Returns the inbox of the flags.

    Raises:
      UserError: The input is a log, and the configuration does not fit one.
    """
    if is_log(job.input):
        from beam_jobs.watch.inboxes.logs import open_log

        return open_log(job.input, stream, config, patience_s=job.patience)
    from beam_jobs.watch.inboxes.after import After
    from beam_jobs.watch.inboxes.folder import FolderInbox

    after = After.parse(job.after.replace("archive:", "archive ", 1))
    inbox: Inbox = FolderInbox(
        Place(job.input),
        config,
        settle_s=job.settle,
        marker=job.marker,
        patience_s=job.patience,
        after=after,
    )
    return inbox


def _watch(
    job: WatchJob, stream: Place, config: Stream | PrepareConfig, inbox: Inbox, make: Any, ahead: LookAhead
) -> None:
    """Watches until the job's end, and prints what was made.

    Raises:
      UserError: The inbox cannot be read, or an entry cannot be made.
    """
    from beam_jobs.watch.cycle import Watcher
    from beam_jobs.watch.metrics import serve

    server = serve(stream, job.metrics_port) if job.metrics_port else None
    try:
        watcher = Watcher(stream, config, inbox, make, job, ahead)
        lineage = Run(job.openlineage, f"watch.{stream.name}", STREAMING, [read_from(job.input)])

        def committed() -> None:
            if job.openlineage:
                lineage.outputs = [written(job.output, Manifest.load(stream))]
                lineage.emit("RUNNING")

        watcher.committed = committed
        with following(lineage):
            watcher.run()
    finally:
        if server:
            server.kill()
            server.communicate()
    _print_end(watcher, stream)


def _print_end(watcher: Watcher, stream: Place) -> None:
    """Prints what is there at the end."""
    snapshot = watcher.snapshot
    early = watcher.early.count
    if (incomplete := watcher.pending - early) > 0:
        is_one = incomplete == 1
        waiting = f"{incomplete:,} {'batch is' if is_one else 'batches are'} not complete yet"
        print(f"{waiting}, and {'waits' if is_one else 'wait'} for the next call")
    if early:
        is_one = early == 1
        waiting = f"{early:,} {'batch corrects' if is_one else 'batches correct'} what has not come yet"
        print(f"{waiting}, and {'waits' if is_one else 'wait'} for the next call")
    if snapshot is None:
        print(f"nothing was made: {stream} has no snapshot yet")
        return
    pictures = sum(total.pictures for total in snapshot.totals.values())
    examples = sum(total.examples for total in snapshot.totals.values())
    made = f"{watcher.made:,} {'snapshot was' if watcher.made == 1 else 'snapshots were'} made"
    batches = f"{snapshot.batches:,} {'batch' if snapshot.batches == 1 else 'batches'}"
    counted, stored = counted_words(watcher.stream.config.task if watcher.stream else READ)
    held = f"{batches}, {pictures:,} {counted}, {examples:,} {stored}"
    print(f"{made}: snapshot {snapshot.snapshot} of {stream} has {held}")
    print(f"Next: python -m tfrecords inspect {shlex.quote(str(stream))}")
