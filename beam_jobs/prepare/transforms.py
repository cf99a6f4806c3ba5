"""The pipeline's wiring. An element is a shard: only annotations are shuffled, never pixels."""

from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.annotation import pack
from beam_jobs.job.faults import Faults, unless
from beam_jobs.job.memory import release_memory
from beam_jobs.job.pictures import Read
from beam_jobs.prepare.leaks import Leaks, SplitPicture, leaks_among, picture_digests
from beam_jobs.prepare.monitoring import count_pictures, report
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_dataset import publish_dataset
from beam_jobs.prepare.shard_work import ShardKey, ShardWriter, Written, parse_and_assign, plan_reader


class ReadAnnotations(beam.PTransform):
    """Parses ranges of entries independently; yields a packed list of annotations for each shard that they reach."""

    def __init__(self, plan: Plan, faults: Faults = None) -> None:
        """Takes the plan of the job, and the faults that keep it from doing anything."""
        super().__init__()
        self._plan, self._faults = plan, faults

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[tuple[ShardKey, bytes]]:
        """Applies the transform to the start of the pipeline."""
        return (
            unless(root | "Ranges" >> beam.Create(self._plan.ranges), self._faults)
            | "SpreadRanges" >> beam.Reshuffle()
            | "ParseAndAssign" >> beam.FlatMap(parse_and_assign, self._plan)
        )


class WriteShards(beam.PTransform):
    """Writes annotations as shards; yields the keys of the shards that are complete."""

    def __init__(self, plan: Plan, faults: Faults = None) -> None:
        """Takes the plan of the job, and the faults that keep it from doing anything."""
        super().__init__()
        self._plan, self._faults = plan, faults

    def expand(self, assigned: beam.PCollection[tuple[ShardKey, bytes]]) -> beam.PCollection[ShardKey]:
        """Applies the transform to lists of annotations by shard."""
        # An empty list per shard: a shard without pictures must be written too.
        empty = assigned.pipeline | "Shards" >> beam.Create([(key, pack([])) for key in self._plan.shard_keys])
        every = unless(empty, self._faults)
        leaks = None
        if self._plan.config.on_leak == "drop":
            leaks = beam.pvalue.AsDict(assigned | "FindLeaks" >> FindLeaks(self._plan, plan_reader))
        return (
            (every, assigned)
            | "Merge" >> beam.Flatten()
            | "GatherShards" >> beam.GroupByKey()
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
        """Starts the thread that writes, if the plan asks for one."""
        self._writer = ShardWriter(self._plan, count_pictures)

    def process(self, element: tuple[ShardKey, Iterable[bytes]], leaks: Leaks | None = None) -> Iterator[ShardKey]:
        """Makes and writes the shard of a key, without leaks; yields the keys of the shards that are written by now."""
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

    def expand(self, shards: beam.PCollection[ShardKey]) -> beam.PCollection[None]:
        """Applies the transform to the keys of all shards."""
        return (
            shards
            | "OneKey" >> beam.WithKeys("dataset")
            | "GatherShards" >> beam.GroupByKey()
            | "WriteManifest" >> beam.Map(lambda _, plan: publish_dataset(plan, plan_reader(plan)), self._plan)
        )


def _digests(
    element: tuple[ShardKey, bytes], plan: Plan, reader: Callable[[Plan], Read]
) -> Iterator[tuple[bytes, SplitPicture]]:
    """Yields the digest of each picture in a packed list of annotations."""
    (split, _), packed = element
    yield from picture_digests(split, packed, plan, reader(plan))


def _reported(written: Written) -> ShardKey:
    """Adds a shard's metrics to those of Beam, and returns its key."""
    key, tally = written
    report(tally)
    return key
