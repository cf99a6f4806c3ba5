"""A plan on the processors of this machine, without Beam: the functions of `shard_work`, in this order.

Beam's own local ways cost seconds of imports, of workers that connect, and of threads between the steps. A test
compares the bytes of both.
"""

import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from beam_jobs.job.given import Range
from beam_jobs.job.memory import release_memory, without_collection
from beam_jobs.job.pool import Pool, worker_pool
from beam_jobs.job.processors import processors
from beam_jobs.prepare.leaks import Leaks, SplitPicture, leaks_among, picture_digests
from beam_jobs.prepare.monitoring import watch_progress
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_dataset import publish_dataset
from beam_jobs.prepare.shard_work import ShardKey, ShardWriter, Written, parse_and_assign, plan_reader
from beam_jobs.prepare.tally import Tally

_FEWEST_PICTURES = 2000
"""Pictures from which on more than one process is started unasked."""
Meanwhile = Callable[[], AbstractContextManager[None]]
"""Function that returns what goes on while a block runs, in threads."""
_Lists = dict[ShardKey, list[bytes]]
"""Packed lists of annotations of each shard."""


@dataclass(frozen=True)
class _Shard:
    """Work of one shard: its key, its packed lists of annotations, and the leaks to look for among them."""

    key: ShardKey
    lists: list[bytes]
    leaks: Leaks | None

    @property
    def size(self) -> int:
        """Size of its annotations, which is nearly proportional to the time that it takes."""
        return sum(map(len, self.lists))


def choose_workers(plan: Plan, workers: int | None) -> int:
    """Returns the number of processes for a plan: never more than shards.

    Args:
      plan: Plan of the job.
      workers: Number that was asked for; None to choose.
    """
    if workers is None:
        workers = processors() if plan.pictures >= _FEWEST_PICTURES else 1
    return max(1, min(workers, len(plan.shard_keys)))


def run_on_this_machine(
    plan: Plan, workers: int, advice: str, quiet_s: float = 0.0, meanwhile: Meanwhile = contextlib.nullcontext
) -> Tally:
    """Makes the dataset of a plan, and returns the metrics of its shards.

    Args:
      plan: Plan of the job.
      workers: Number of processes; 1 for this one alone.
      advice: What to do if one is killed, as `the same command resumes`.
      quiet_s: Time after which progress is shown, seconds.
      meanwhile: What this process does while other processes work; not with one process.

    Raises:
      UserError: A file cannot be written, the machine lacks a resource that every picture needs, or a process was
        killed.
    """
    tally = Tally()
    plan = replace(plan, hashes_in_background=workers == 1 and processors() > 1)
    with worker_pool(workers, advice) as pool, _counts(plan) as folder:
        plan = replace(plan, counts=folder)
        with watch_progress(plan, quiet_s=quiet_s), meanwhile() if workers > 1 else contextlib.nullcontext():
            _run(plan, pool, workers, tally)
    return tally


@contextlib.contextmanager
def _counts(plan: Plan) -> Iterator[str]:
    """Yields a local folder for the counts of pictures if the output is at an address, else nothing."""
    if not plan.output.is_remote:
        yield ""
        return
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder, "counts"))


def _run(plan: Plan, pool: Pool, workers: int, tally: Tally) -> None:
    """Makes the dataset of a plan, and adds the metrics of its shards to `tally`."""
    lists = _gather(plan, pool)
    leaks = _find_leaks(plan, lists, pool) if plan.config.on_leak == "drop" else None
    shards = [_Shard(key, found, _of_split(leaks, key[0])) for key, found in lists.items()]
    del lists
    for _, each in _write(plan, shards, pool, workers):
        tally.add(each)
    publish_dataset(plan, plan_reader(plan))
    release_memory()  # the rows of all pictures: what follows reads some of their columns again


def _gather(plan: Plan, pool: Pool) -> _Lists:
    """Returns the packed lists of annotations of every shard: a shard without pictures must be written too."""
    lists: _Lists = {key: [] for key in plan.shard_keys}
    for key, packed in chain.from_iterable(pool.run(partial(_parse, plan=plan), plan.ranges)):
        lists[key].append(packed)
    return lists


def _find_leaks(plan: Plan, lists: _Lists, pool: Pool) -> Leaks:
    """Returns the pictures to leave out, each with the equal one that stays."""
    copies: defaultdict[bytes, list[SplitPicture]] = defaultdict(list)
    tasks = [(split, packed) for (split, _), found in lists.items() for packed in found]
    for digest, picture in chain.from_iterable(pool.run(partial(_digests, plan=plan), tasks)):
        copies[digest].append(picture)
    return dict(chain.from_iterable(map(leaks_among, copies.values())))


def _write(plan: Plan, shards: list[_Shard], pool: Pool, workers: int) -> Iterator[Written]:
    """Writes the shards, and yields each that is complete."""
    if workers == 1:
        release_memory()
        writer = ShardWriter(plan)
        for shard in shards:
            yield from writer.write(shard.key, shard.lists, shard.leaks)
        yield from writer.finish()
        return
    # The largest first: all processes end together.
    tasks = [(plan, shard) for shard in sorted(shards, key=lambda shard: -shard.size)]
    holding = set()
    for process, written in pool.run(_write_one, tasks):
        holding.add(process)
        yield from written
    # All are idle, so that each takes one task, or a second one if it is early: then another round follows.
    while holding:
        for process, written in pool.run(_finish, range(len(holding))):
            holding.discard(process)
            yield from written


_writer: ShardWriter | None = None
"""Writer of this worker process. It lasts from shard to shard: the disk writes one while the next is made."""


def _write_one(task: tuple[Plan, _Shard]) -> tuple[int, list[Written]]:
    """Makes a shard in a worker process; returns the process, and the shards that are complete by now."""
    global _writer
    plan, shard = task
    _writer = _writer or ShardWriter(plan)
    return os.getpid(), list(_writer.write(shard.key, shard.lists, shard.leaks))


def _finish(_: int) -> tuple[int, list[Written]]:
    """Waits for the last shard of a worker process; returns the process, and the shard."""
    global _writer
    written = list(_writer.finish()) if _writer else []
    _writer = None
    return os.getpid(), written


def _parse(entries: Range, plan: Plan) -> list[tuple[ShardKey, bytes]]:
    with without_collection():
        return list(parse_and_assign(entries, plan))


def _digests(task: tuple[str, bytes], plan: Plan) -> list[tuple[bytes, SplitPicture]]:
    return list(picture_digests(*task, plan, plan_reader(plan)))


def _of_split(leaks: Leaks | None, split: str) -> Leaks | None:
    """Returns the leaks of a split, which are all that its shards look at."""
    return None if leaks is None else {picture: kept for picture, kept in leaks.items() if picture[0] == split}
