"""The work of one worker: entries to annotations by shard, annotations to a shard. The same on Beam and without it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from beam_jobs.annotation import Annotation, pack, unpack
from beam_jobs.job.given import Range
from beam_jobs.job.memory import without_collection
from beam_jobs.job.pictures import Read, picture_reader
from beam_jobs.prepare.assign import shard_of, split_of
from beam_jobs.prepare.check_box import check_box
from beam_jobs.prepare.check_label import check_label
from beam_jobs.prepare.leaks import Leaks, leaves_out, without_leaks
from beam_jobs.prepare.load_picture import PictureRow
from beam_jobs.prepare.make_scenes import by_picture, make_scenes
from beam_jobs.prepare.make_shard import make_shard
from beam_jobs.prepare.monitoring import ShardProgress
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_shard import digest_of, find_complete_shard, publish_shard
from beam_jobs.prepare.survey import limit_digest
from beam_jobs.prepare.tally import Tally, tally_kept, tally_shard
from beam_jobs.prepare.versions import check_worker
from beam_jobs.sources import load_source
from tfrecords.dataset.manifest import FIND

ShardKey = tuple[str, int]
"""Split and index of a shard."""
Written = tuple[ShardKey, Tally]
"""Key of a shard that is complete, and its metrics."""


def plan_reader(plan: Plan) -> Read:
    """Returns the function that reads the picture of a subset and a name."""
    return picture_reader(plan.config.source, plan.subsets)


def parse_and_assign(entries: Range, plan: Plan) -> Iterator[tuple[ShardKey, bytes]]:
    """Yields the annotations of a range, packed, for each shard that some of them are assigned to."""
    _check(plan)
    config = plan.config
    shards: defaultdict[ShardKey, list[Annotation]] = defaultdict(list)
    source = load_source(config.source)
    ours = entries.subset, entries.start, entries.stop, config.digit_order, config.reading
    labels, largest = config.labels, plan.survey.largest_digest
    for annotation in source.read_annotations(*ours):
        if largest is not None and limit_digest(annotation, config.seed) > largest:
            continue
        # By picture: all its numbers are in one split.
        picture = annotation.picture
        split = split_of(annotation.subset, picture, config.seed, config.fractions)
        shard = shard_of(picture, config.seed, plan.shards[split])
        checked = check_label(plan.fixes.apply(annotation), labels, split)
        shards[split, shard].append(check_box(checked, split) if config.task == FIND else checked)
    for key, annotations in shards.items():
        yield key, pack(annotations)


def _check(plan: Plan) -> None:
    """Checks that this process can do its part: before each, and once in effect.

    Not in the set-up of a worker, which some runners call where faults have left nothing to do.

    Raises:
      UserError: It does not see a path of the launcher's, or has other versions of what decides the bytes.
    """
    plan.mounts.require()
    check_worker(plan)


class ShardWriter:
    """Writes shards, unless they are complete already: each while the next one is made, so two are in memory."""

    def __init__(self, plan: Plan, on_count: Callable[[int], None] | None = None) -> None:
        """Starts the thread that writes: waiting for the disk takes 25 of the 300 ms of a shard.

        Args:
          plan: Plan of the job.
          on_count: Function that counts pictures, besides the files of `ShardProgress`.
        """
        self._plan, self._on_count = plan, on_count
        self._thread = ThreadPoolExecutor(1)
        self._pending: tuple[ShardKey, Future[Tally]] | None = None

    def write(self, key: ShardKey, lists: Iterable[bytes], leaks: Leaks | None = None) -> Iterator[Written]:
        """Makes and writes a shard, without leaks; yields the shards that are written by now.

        Args:
          key: Split and index of the shard.
          lists: Packed lists of its annotations.
          leaks: Pictures to leave out; None to look for none.

        Raises:
          UserError: A file cannot be written, or the machine lacks a resource that every picture needs.
        """
        plan, name = self._plan, str(self._plan.shard_name(*key))
        _check(plan)
        with ShardProgress(plan, name, self._on_count) as progress, without_collection():
            complete = find_complete_shard(plan, name)
            if complete and (leaks is None or leaves_out(complete.table, key[0], leaks)):
                progress.add(complete.table.num_rows)
                yield key, tally_kept()
                return
            annotations = without_leaks(chain.from_iterable(map(unpack, lists)), key[0], leaks or {})
            if plan.config.task == FIND:
                counted, read = progress.count(by_picture(annotations)), plan_reader(plan)
                records, rows = make_scenes(counted, *key, plan.config, read, plan.reads_remote)
            else:
                dynamic = plan.image.dynamic
                counted, read = progress.count(annotations), plan_reader(plan)
                records, rows = make_shard(counted, *key, dynamic, plan.config, read, plan.reads_remote)
        # Digests and copies release Python's lock, which costs no time where a processor is idle. Where all processors
        # have workers of their own, the thread's waits for the lock would only slow these down.
        sha256 = None if plan.hashes_in_background else digest_of(records)
        # One at a time: no more than two shards are in memory.
        yield from self._await_written()
        self._pending = key, self._thread.submit(_publish, plan, name, records, rows, sha256)

    def finish(self) -> Iterator[Written]:
        """Waits for the last shard and yields it."""
        yield from self._await_written()
        self._thread.shutdown()

    def _await_written(self) -> Iterator[Written]:
        """Waits for the shard that is being written, if there is one, and yields it."""
        if self._pending:
            key, future = self._pending
            self._pending = None
            yield key, future.result()


def _publish(plan: Plan, name: str, records: list[bytes], rows: list[PictureRow], sha256: str | None) -> Tally:
    return tally_shard(publish_shard(plan, name, records, rows, sha256), rows)
