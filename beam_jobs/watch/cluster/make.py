"""The coordinator's side of a job on a cluster: it asks for the shards of a generation, and waits for their results.

The cluster is never needed: what it does not deliver in time is made here. So it may be slow, dead or shut down over
night, and every generation still comes, with the same bytes.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from beam_jobs import filesystem
from beam_jobs.job.given import warn
from beam_jobs.prepare.plan import Plan
from beam_jobs.watch.cluster.process import JobProcess
from beam_jobs.watch.cluster.request import FAULT_PREFIX, FAULT_SUFFIX, REQUEST, ask, result_name, withdraw
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import setting

_GROUP = "cluster"
_POLL_S, _REMOTE_POLL_S = 0.1, 1.0
"""Time between two looks at the results, seconds: a look at a store is a request that costs money."""
_DOUBT = 8
"""Part of the takeover time that a cluster gets for its first shard after it did not deliver the generation before."""
_STARTING_S = 60.0
"""Time that a job gets to start, seconds."""
_MOST_SAID = 1000
"""Lines of workers that are remembered, so that each is printed once."""


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """Where shards are made. The help line of each setting describes it."""

    cluster: bool = setting(
        False,
        "let a job on a cluster make the shards: one that this process submits, and submits again when it ends, if "
        "Beam's options are given, as --runner; otherwise one that python -m beam_jobs watch-job keeps running",
        group=_GROUP,
    )
    takeover: float = setting(
        120.0,
        "with --cluster: seconds without a new shard after which this process makes the missing ones itself",
        group=_GROUP,
    )

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: One cannot be used.
        """
        if not 0 <= self.takeover < float("inf"):
            raise UserError("--takeover must be a number of seconds, 0 or more.", self.takeover)


class ClusterMake:
    """Makes generations on a cluster; called with a plan, it returns when the dataset directory is complete.

    Attributes:
      takeovers: Number of generations of which this process has made shards, since the cluster did not.
    """

    def __init__(
        self,
        stream: Place,
        takeover_s: float,
        job: JobProcess | None = None,
        make_here: Callable[[Plan], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the stream and what may be expected of the cluster.

        Args:
          stream: Stream, whose lock this process holds.
          takeover_s: Time without a new shard after which this process makes the missing ones, seconds.
          job: Job that this process keeps running; None if another one does.
          make_here: Function that makes the dataset of a plan, whose output is locked, on this machine, and keeps the
            shards that are complete; None for one process per processor.
          clock: Function that returns the time, seconds.
        """
        self._stream, self._takeover_s, self._job, self._clock = stream, takeover_s, job, clock
        self._make_here = make_here or _make_here
        self._doubts = False
        self._restarted = clock()
        self._said: set[str] = set()
        self.takeovers = 0
        (stream / REQUEST).delete()  # of a coordinator that was killed

    def __call__(self, plan: Plan) -> None:
        """Makes the dataset of a plan, unless it is complete.

        Raises:
          UserError: The output cannot be used, or this process cannot make what the cluster did not.
        """
        # What reads and publishes results takes a while to import.
        from beam_jobs.prepare.output_lock import lock_unnamed

        with lock_unnamed(plan) as complete:
            if complete:
                withdraw(self._stream, plan.output)
                return
            _forget_doubtful(plan)
            came = self._ask_and_wait(plan)
            self._finish(plan, came)

    def _ask_and_wait(self, plan: Plan) -> bool:
        """Asks for all shards; returns whether all results came."""
        # A scratch folder of their own: once it is deleted, no late worker can replace a shard. In a store, a worker
        # compares the claim, which has the name of this run.
        run = plan.run_id if plan.output.is_remote else uuid.uuid4().hex
        asked = replace(plan, run_id=run)
        filesystem.make_folder(asked.scratch)
        ask(self._stream, plan, run)
        try:
            return self._wait(plan)
        finally:
            withdraw(self._stream, plan.output)
            if not plan.output.is_remote:
                _delete_folder(asked.scratch)

    def _wait(self, plan: Plan) -> bool:
        """Waits for the results of all shards; returns False if no new one came for too long."""
        expected = {result_name(plan, *key) for key in plan.shard_keys}
        pause = _REMOTE_POLL_S if plan.output.is_remote else _POLL_S
        there: set[str] = set()
        patience = self._takeover_s / (_DOUBT if self._doubts else 1)
        heard = self._clock()
        while True:
            if self._job:
                self._job.check()
            names = _names(plan.results)
            if new := (expected & names) - there:
                there |= new
                heard, patience, self._doubts = self._clock(), self._takeover_s, False
            if there == expected:
                return True
            self._say_faults(plan, names)
            if self._clock() - heard >= patience:
                lacking = f"{len(expected) - len(there):,} of {len(expected):,} shards of {plan.output.name}"
                warn(f"no new shard from the cluster for {patience:g} s: this process makes {lacking}")
                self._doubt()
                return False
            time.sleep(pause)

    def _doubt(self) -> None:
        """Expects less of the cluster, and starts the job again if this process keeps it: it may hang.

        Not soon after the last start: a job takes half a minute to start on Flink, and would never do so.
        """
        now = self._clock()
        if self._job and now - self._restarted >= max(self._takeover_s, _STARTING_S):
            self._restarted = now
            warn("the job is cancelled and submitted again")
            self._job.restart()
        self._doubts = True

    def _finish(self, plan: Plan, came: bool) -> None:
        """Publishes the dataset, after this process has made the shards that are missing or not as they should be."""
        from beam_jobs.prepare.publish_dataset import publish_dataset
        from beam_jobs.prepare.shard_work import plan_reader

        if came and (wrong := _first_wrong(plan)):
            warn(f"{plan.output / wrong} is not what its worker has written: this process makes it again")
            came = False
        if came:
            publish_dataset(plan, plan_reader(plan))
            return
        self.takeovers += 1
        self._make_here(plan)

    def _say_faults(self, plan: Plan, names: set[str]) -> None:
        """Prints what keeps workers from their work, each line once."""
        for name in sorted(names):
            if name.startswith(FAULT_PREFIX) and name.endswith(FAULT_SUFFIX) and name not in self._said:
                if len(self._said) >= _MOST_SAID:
                    self._said.clear()
                self._said.add(name)
                with contextlib.suppress(OSError, UserError):
                    warn(f"the cluster: {(plan.results / name).read_bytes().decode(errors='replace')}")


@contextlib.contextmanager
def making_on_cluster(
    settings: ClusterJob,
    stream: Place,
    beam_options: Sequence[str],
    make_here: Callable[[Plan], object] | None = None,
) -> Iterator[ClusterMake]:
    """Yields what makes generations on a cluster; keeps a job running there while the block runs if it is to.

    Args:
      settings: What the command line says.
      stream: Stream, at a path or an address that is the same for all workers; it may be made later.
      beam_options: Options of Beam for the job; none if another process keeps one running.
      make_here: Function that makes on this machine what the cluster does not; see `ClusterMake`.
    """
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(JobProcess(stream, beam_options)) if beam_options else None
        yield ClusterMake(stream, settings.takeover, job, make_here)


def _make_here(plan: Plan) -> None:
    from beam_jobs.prepare.execute import execute

    execute(plan, None, None, verbose=False)


def _names(folder: Place) -> set[str]:
    """Returns the names of the files in a folder; none if a store does not answer now."""
    try:
        return set(folder.names())
    except (OSError, UserError):
        return set()


def _forget_doubtful(plan: Plan) -> None:
    """Deletes the results of an earlier run that do not count: of shards that were damaged, or lack a picture."""
    from beam_jobs.prepare.publish_shard import find_complete_shard

    names = _names(plan.results)
    # Under another name of the run: a listing of a store is kept by it, and what the cluster will write is not in it.
    before = replace(plan, run_id="")
    doubtful = [
        result_name(plan, *key)
        for key in plan.shard_keys
        if result_name(plan, *key) in names and not find_complete_shard(before, str(plan.shard_name(*key)))
    ]
    faults = [name for name in names if name.startswith(FAULT_PREFIX)]
    plan.results.delete_names([*doubtful, *faults])


def _first_wrong(plan: Plan) -> str:
    """Returns the name of the first shard that is not what its result states; empty if all are.

    A worker that was thought dead may have written the same shard again, from pictures that have changed meanwhile. In
    a store, `publish_dataset` compares.
    """
    from beam_jobs.prepare.publish_shard import ShardResult

    if plan.output.is_remote:
        return ""
    for key in plan.shard_keys:
        name = str(plan.shard_name(*key))
        try:
            if plan.path(name).sha256() != ShardResult.load(plan, name).info.sha256:
                return name
        except (OSError, UserError):
            return name
    return ""


def _delete_folder(folder: Place) -> None:
    """Deletes the scratch folder of workers, some of which may be creating files in it."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            folder.delete_folder()
        if not folder.exists():
            return
        time.sleep(0.05)
