"""The job that makes the shards of a stream on a cluster: it runs for ever, and keeps no state that it must not lose.

    every second ──► FindShards ──► SpreadShards ──► WriteShard
                     (what the coordinator wants     (the functions of prepare;
                      and nobody has written)         a file says that it is complete)

Nothing rests on the engine's windows, timers or checkpoints: a task that is lost is found again, and one that is done
twice writes the same bytes twice. So the job may be killed, run twice, or be submitted anew at any moment.
"""

import functools
import hashlib
import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import apache_beam as beam
from apache_beam.transforms.periodicsequence import PeriodicImpulse

from beam_jobs import filesystem
from beam_jobs.job.given import Range
from beam_jobs.prepare import claim
from beam_jobs.prepare.monitoring import report
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.shard_work import ShardKey, ShardWriter, parse_and_assign
from beam_jobs.watch.cluster.request import FAULT_PREFIX, FAULT_SUFFIX, Request, Wanted, result_name
from beam_jobs.watch.stream import Stream
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_POLL_S = 1.0
"""Time between two looks at what is wanted, seconds."""
_REPEAT_S = 10.0
"""Time after which a shard that nobody has written is a task again, seconds; twice as long after each time."""
_THREADS = 16
"""Annotations that are read at once from a store."""
_LOG = logging.getLogger(__name__)
Task = tuple[str, str, str, int]
"""A shard to write: path of the generation, run, split and index."""


def build(pipeline: beam.Pipeline, stream: Place) -> None:
    """Adds the job of a stream to an empty pipeline.

    Args:
      pipeline: Pipeline of a runner with workers of its own: it never ends.
      stream: Stream, at a path or an address that is the same for all workers.
    """
    ticks = pipeline | "Ticks" >> PeriodicImpulse(start_timestamp=time.time(), fire_interval=_POLL_S)
    _ = ticks | "MakeShards" >> MakeShards(stream)


class MakeShards(beam.PTransform):
    """Looks at a stream whenever an element comes, and writes the shards that are wanted."""

    def __init__(self, stream: Place) -> None:
        """Takes the stream."""
        super().__init__()
        self._stream = str(stream)

    def expand(self, ticks: beam.PCollection[object]) -> beam.PCollection[str]:
        """Applies the transform to elements of any kind; returns the names of the shards that were written."""
        job = uuid.uuid4().hex
        return (
            ticks
            # Prism (2.77) makes lists of the characters of texts whose type is not declared.
            | "FindShards" >> beam.FlatMap(_find, self._stream, job).with_output_types(Task)
            | "SpreadShards" >> beam.Reshuffle().with_output_types(Task)
            | "WriteShard" >> beam.FlatMap(write_shard, self._stream).with_output_types(str)
        )


class Finder:
    """Finds the shards that are wanted and that nobody has written; one is named again if it stays so."""

    def __init__(self, stream: Place, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes the stream.

        Args:
          stream: Stream.
          clock: Function that returns the time, seconds.
        """
        self._stream, self._clock = stream, clock
        self._run = ""
        # When each shard is to be named next, and after how long again.
        self._due: dict[ShardKey, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def find(self) -> list[Task]:
        """Looks at the stream once."""
        with self._lock:
            wanted = Wanted.load(self._stream)
            if wanted is None:
                return []
            if wanted.run != self._run:
                self._run, self._due = wanted.run, {}
            now = self._clock()
            keys = ((split, shard) for split, count in wanted.shards.items() for shard in range(count))
            due = [key for key in keys if now >= self._due.get(key, (now, 0.0))[0]]
            if not due:
                return []
            plan = _plan(str(self._stream), wanted.directory, wanted.run)
            if plan is None:
                return []
            written = set(plan.results.names())
            missing = [key for key in due if result_name(plan, *key) not in written]
            for key in missing:
                _, wait = self._due.get(key, (now, _REPEAT_S))
                self._due[key] = now + wait, 2 * wait
            return [(wanted.directory, wanted.run, *key) for key in missing]


@functools.lru_cache(maxsize=8)
def _finder(stream: str, job: str) -> Finder:
    """Returns the finder of a job in this process: what it remembers only saves work."""
    return Finder(Place(stream))


def _find(_: object, stream: str, job: str) -> Iterator[Task]:
    try:
        yield from _finder(stream, job).find()
    except (OSError, UserError) as error:  # of a store that does not answer now
        _LOG.warning("%s cannot be read: %s", stream, error)


def write_shard(task: Task, stream: str) -> Iterator[str]:
    """Writes the shard of a task, unless it is written or not wanted any more; yields its name if it was written.

    What keeps a worker from it, as a folder that it does not see, is no exception: that would make an engine start the
    whole job again. It is in a file that the coordinator prints.
    """
    directory, run, split, shard = task
    plan = None
    try:
        if not _is_wanted(stream, run):
            return
        plan = _plan(stream, directory, run)
        if plan is None or (plan.results / result_name(plan, split, shard)).is_file():
            return
        yield from _write(plan, (split, shard), _annotations(plan, stream, directory))
    except (OSError, UserError) as error:
        # The coordinator has withdrawn the request if it did not wait, or was killed: nobody misses the shard then.
        if plan is not None and _is_wanted(stream, run):
            _note_fault(plan, str(error))


def _write(plan: Plan, key: ShardKey, lists: Mapping[ShardKey, list[bytes]]) -> Iterator[str]:
    writer = ShardWriter(plan)
    for done in (writer.write(key, lists.get(key, [])), writer.finish()):
        for written, tally in done:
            report(tally)
            yield str(plan.shard_name(*written))


@functools.lru_cache(maxsize=1)
def _plan(stream: str, directory: str, run: str) -> Plan | None:
    """Returns the plan of a run; None if the coordinator does not ask for it any more."""
    place = Place(stream)
    request = Request.load(place, directory)
    if request is None or request.run != run:
        return None
    return request.plan(Stream.load(place), directory)


_PARSING = threading.Lock()
"""Held by the thread that parses, so that others of the same process wait for what it finds."""


def _annotations(plan: Plan, stream: str, directory: str) -> Mapping[ShardKey, list[bytes]]:
    """Returns the packed lists of annotations of each shard that has some.

    Each worker parses all annotations once: they are those of one generation, and passing them between workers would
    take a barrier, which an endless pipeline has none of.
    """
    with _PARSING:
        return _parsed(stream, directory, plan.run_id)


@functools.lru_cache(maxsize=1)
def _parsed(stream: str, directory: str, run: str) -> Mapping[ShardKey, list[bytes]]:
    lists: defaultdict[ShardKey, list[bytes]] = defaultdict(list)
    plan = _plan(stream, directory, run)
    if plan is None:
        raise UserError(f"{directory} must be wanted until its shards are written, and is not any more.")
    parse = functools.partial(_parse, plan=plan)
    if not plan.reads_remote:
        found = list(map(parse, plan.ranges))
    else:
        with ThreadPoolExecutor(_THREADS) as threads:
            found = list(threads.map(parse, plan.ranges))
    for key, packed in chain.from_iterable(found):
        lists[key].append(packed)
    return lists


def _parse(entries: Range, plan: Plan) -> list[tuple[ShardKey, bytes]]:
    return list(parse_and_assign(entries, plan))


def _is_wanted(stream: str, run: str) -> bool:
    """Returns whether the coordinator still waits for a run; so it is taken to be where that cannot be read."""
    try:
        wanted = Wanted.load(Place(stream))
    except (OSError, UserError):
        return True
    return wanted is not None and wanted.run == run


def _note_fault(plan: Plan, line: str) -> None:
    """Writes what keeps this worker from its work next to the results, where the coordinator finds it."""
    _LOG.warning("%s", line)
    name = f"{FAULT_PREFIX}{hashlib.sha256(line.encode()).hexdigest()[:16]}{FAULT_SUFFIX}"
    try:
        if not plan.output.is_remote or claim.is_of(plan.claim, plan.run_id):
            filesystem.publish(plan.results / name, [line.encode()], plan.scratch)
    except (OSError, UserError) as error:
        _LOG.warning("%s cannot be written: %s", name, error)
