"""The pipeline's wiring. An element is a shard: only annotations are shuffled, never pixels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation, pack, unpack
from beam_jobs.prepare.assign import shard_of, split_of
from beam_jobs.prepare.make_shard import make_shard
from beam_jobs.prepare.memory import settle
from beam_jobs.prepare.monitoring import ShardProgress, count_decoding, count_kept_shard, count_shard
from beam_jobs.prepare.plan import Plan, Range, Subset
from beam_jobs.prepare.publish_dataset import finish
from beam_jobs.prepare.publish_shard import ShardResult, find_whole_shard, publish_shard
from beam_jobs.sources.svhn import digit_struct

ShardKey = tuple[str, int]


class ReadAnnotations(beam.PTransform):
    """Ranges of entries to annotations, each range parsed by itself: a list for each shard that it adds to."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[tuple[ShardKey, bytes]]:
        return (
            root
            | "Ranges" >> beam.Create(self._plan.ranges)
            | "SpreadRanges" >> beam.Reshuffle()
            | "ParseAndAssign" >> beam.FlatMap(_parse, self._plan)
        )


class WriteShards(beam.PTransform):
    """Annotations to shards on disk; yields the keys of those that stand there."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, assigned: beam.PCollection[tuple[ShardKey, bytes]]) -> beam.PCollection[ShardKey]:
        # An empty list for every shard: one that no picture falls into must be written too.
        every = assigned.pipeline | "Shards" >> beam.Create([(key, pack([])) for key in self._plan.shard_keys])
        return (
            (every, assigned)
            | "Merge" >> beam.Flatten()
            | "GatherShards" >> beam.GroupByKey()
            | "WriteShard" >> beam.ParDo(WriteShard(self._plan))
        )


class WriteShard(beam.DoFn):
    """Writes one shard, unless it stands there whole: what one worker does at a time, in memory bounded by a shard."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def setup(self) -> None:
        settle()

    def start_bundle(self) -> None:
        # Digest and writing let go of Python's lock: they take no time beside the next shard's pictures. Where the
        # other processors have workers of their own, it would only be in their way.
        self._writer = ThreadPoolExecutor(1) if self._plan.alone else None
        self._written: Future[ShardResult] | None = None
        self._key: ShardKey | None = None

    def process(self, element: tuple[ShardKey, Iterable[bytes]]) -> Iterator[ShardKey]:
        key, lists = element
        name = str(self._plan.shard_name(*key))
        with ShardProgress(self._plan, name) as progress:
            if whole := find_whole_shard(self._plan, name):
                progress.add(whole.table.num_rows)
                count_kept_shard()
                yield key
                return
            annotations = progress.count(chain.from_iterable(map(unpack, lists)))
            dynamic = self._plan.config.image_info(list(self._plan.shards)).dynamic
            read = _PictureReader(self._plan.subsets)
            records, rows = make_shard(annotations, *key, dynamic, self._plan.config, read)
        count_decoding([row.decode_us for row in rows if row.decode_us is not None])
        work = partial(publish_shard, self._plan, name, records, rows)
        # One at a time: no more than two shards are in memory.
        yield from self._await_written()
        if self._writer:
            self._key, self._written = key, self._writer.submit(work)
        else:
            count_shard(work())
            yield key

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for key in self._await_written():
            yield GlobalWindows.windowed_value(key)
        if self._writer:
            self._writer.shutdown()

    def _await_written(self) -> Iterator[ShardKey]:
        if self._written and self._key:
            count_shard(self._written.result())
            yield self._key
        self._key = self._written = None


class _PictureReader:
    """Returns the bytes of the picture of a key."""

    def __init__(self, subsets: Iterable[Subset]) -> None:
        self._folders = {subset.name: subset.folder for subset in subsets}

    def __call__(self, key: str) -> bytes:
        subset, picture = key.split("/", 1)
        return filesystem.read_local(f"{self._folders[subset]}/{picture}")


class Finish(beam.PTransform):
    """Everything beside the shards, once all are written: one element, so one worker, once."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, shards: beam.PCollection[ShardKey]) -> beam.PCollection[None]:
        return (
            shards
            | "OneKey" >> beam.WithKeys("dataset")
            | "GatherShards" >> beam.GroupByKey()
            | "WriteManifest" >> beam.Map(lambda _, plan: finish(plan), self._plan)
        )


def _parse(entries: Range, plan: Plan) -> Iterator[tuple[ShardKey, bytes]]:
    subset, config = entries.subset, plan.config
    shards: defaultdict[ShardKey, list[Annotation]] = defaultdict(list)
    for annotation in digit_struct.read_annotations(
        subset.annotation_file, subset.name, entries.start, entries.stop, config.digit_order
    ):
        split = split_of(annotation.subset, annotation.key, config.seed, config.fractions)
        shards[split, shard_of(annotation.key, config.seed, plan.shards[split])].append(annotation)
    for key, annotations in shards.items():
        yield key, pack(annotations)
