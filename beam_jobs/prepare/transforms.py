"""The pipeline's wiring. An element is a shard: only annotations are shuffled, never pixels.

Each step costs an engine's start: Flink takes 0.1 to 0.5 s of processor time per step and slot before the first
picture, and a side input that all steps wait for ends the workers and starts new ones.
"""

from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.annotation import pack
from beam_jobs.job.faults import counted_fault
from beam_jobs.job.given import Range
from beam_jobs.job.memory import release_memory
from beam_jobs.job.pictures import Read
from beam_jobs.prepare.leaks import Leaks, SplitPicture, leaks_among, picture_digests
from beam_jobs.prepare.monitoring import count_pictures, report
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_dataset import publish_dataset
from beam_jobs.prepare.shard_work import ShardKey, ShardWriter, Written, parse_and_assign, plan_reader

_FAULT = b""
"""Instead of a packed list of annotations: a worker does not see what the job needs, so no shard must be written."""


class ReadAnnotations(beam.PTransform):
    """Parses ranges of entries independently; yields a packed list of annotations for each shard that they reach."""

    def __init__(self, plan: Plan) -> None:
        """Takes the plan of the job."""
        super().__init__()
        self._plan = plan

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[tuple[ShardKey, bytes]]:
        """Applies the transform to the start of the pipeline."""
        return (
            root
            # It spreads them over the workers.
            | "Ranges" >> beam.Create(self._plan.ranges)
            | "ParseAndAssign" >> beam.FlatMap(_parse_and_assign, self._plan)
        )


class WriteShards(beam.PTransform):
    """Writes annotations as shards; yields the keys of the shards that are complete, and None for one that is not."""

    def __init__(self, plan: Plan) -> None:
        """Takes the plan of the job."""
        super().__init__()
        self._plan = plan

    def expand(self, assigned: beam.PCollection[tuple[ShardKey, bytes]]) -> beam.PCollection[ShardKey | None]:
        """Applies the transform to lists of annotations by shard."""
        leaks = None
        if self._plan.config.on_leak == "drop":
            leaks = beam.pvalue.AsDict(assigned | "FindLeaks" >> FindLeaks(self._plan, plan_reader))
        return (
            assigned
            | "GatherShards" >> beam.GroupByKey()
            | "TakeLists" >> beam.MapTuple(_take_lists)
            # Engines give a worker the keys with its digests: of 40 shards 22 or more to one of two, on average.
            | "SpreadShards" >> beam.Reshuffle()
            | "WriteShard" >> beam.ParDo(WriteShard(self._plan), leaks)
        )


class FindLeaks(beam.PTransform):
    """Reads the pictures of all annotations; yields those to leave out, each with the equal one that stays."""

    def __init__(self, plan: Plan, reader: Callable[[Plan], Read]) -> None:
        """Takes the plan of the job, and the function that returns the reader of its pictures."""
        super().__init__()
        self._plan, self._reader = plan, reader

    def expand(self, assigned: beam.PCollection[tuple[ShardKey, bytes]]) -> beam.PCollection[tuple[SplitPicture, str]]:
        """Applies the transform to packed lists of annotations by split and shard."""
        return (
            assigned
            | "DigestPictures" >> beam.FlatMap(_digests, self._plan, self._reader)
            | "GatherCopies" >> beam.GroupByKey()
            | "ChooseOne" >> beam.FlatMap(lambda copies: leaks_among(copies[1]))
        )


class WriteShard(beam.DoFn):
    """Writes one shard, unless it is complete already: one per worker at a time, in memory bounded by a shard."""

    def __init__(self, plan: Plan) -> None:
        """Takes the plan of the job."""
        super().__init__()
        self._plan = plan

    def setup(self) -> None:
        """Releases the memory of the steps before."""
        release_memory()

    def start_bundle(self) -> None:
        """Starts the thread that writes."""
        self._writer = ShardWriter(self._plan, count_pictures)

    def process(self, element: tuple[ShardKey, list[bytes]], leaks: Leaks | None = None) -> Iterator[ShardKey | None]:
        """Makes and writes the shard of a key, without leaks; yields the keys of the shards that are written by now.

        Yields None instead, where a worker does not see what the job needs: this one, or one that has parsed ranges.
        """
        if _FAULT in element[1] or counted_fault(self._plan.mounts):
            yield None
            return
        yield from map(_reported, self._writer.write(*element, leaks))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Waits for the last shard and yields its key."""
        yield from map(GlobalWindows.windowed_value, map(_reported, self._writer.finish()))


class PublishDataset(beam.PTransform):
    """Writes the files next to the shards once all shards are written: one element, so one worker, once."""

    def __init__(self, plan: Plan) -> None:
        """Takes the plan of the job."""
        super().__init__()
        self._plan = plan

    def expand(self, shards: beam.PCollection[ShardKey | None]) -> beam.PCollection[None]:
        """Applies the transform to the keys of all shards; without one of them, nothing is written."""
        return (
            shards
            | "OneKey" >> beam.WithKeys("dataset")
            | "GatherShards" >> beam.GroupByKey()
            | "WriteManifest" >> beam.Map(_publish, self._plan)
        )


def _parse_and_assign(entries: Range, plan: Plan) -> Iterator[tuple[ShardKey, bytes]]:
    """Yields the annotations of a range, packed, by shard; a fault for every shard if this worker does not see them.

    The first range has an empty list for every shard: one without pictures must be written too.
    """
    is_faulty = counted_fault(plan.mounts)
    if is_faulty or entries == plan.ranges[0]:
        yield from ((key, _FAULT if is_faulty else pack([])) for key in plan.shard_keys)
    if not is_faulty:
        yield from parse_and_assign(entries, plan)


def _take_lists(key: ShardKey, lists: Iterable[bytes]) -> tuple[ShardKey, list[bytes]]:
    return key, list(lists)


def _publish(element: tuple[str, Iterable[ShardKey | None]], plan: Plan) -> None:
    """Publishes the dataset, unless a worker had a fault, which its launcher reports."""
    if None not in element[1]:
        publish_dataset(plan, plan_reader(plan))


def _digests(
    element: tuple[ShardKey, bytes], plan: Plan, reader: Callable[[Plan], Read]
) -> Iterator[tuple[bytes, SplitPicture]]:
    """Yields the digest of each picture in a packed list of annotations."""
    (split, _), packed = element
    if packed == _FAULT:
        return
    plan.mounts.require()
    yield from picture_digests(split, packed, plan, reader(plan))


def _reported(written: Written) -> ShardKey:
    """Adds a shard's metrics to those of Beam, and returns its key."""
    key, tally = written
    report(tally)
    return key
