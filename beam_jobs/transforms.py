"""The pipeline's wiring. An element is a shard: only annotations are shuffled, never pixels."""

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import apache_beam as beam

from beam_jobs import files
from beam_jobs.annotation import Annotation, pack, unpack
from beam_jobs.assign import shard_of, split_of
from beam_jobs.finish import finish
from beam_jobs.metrics import count_kept_shard, count_shard
from beam_jobs.plan import Plan, Range, Subset
from beam_jobs.progress import ShardProgress
from beam_jobs.shard import make_shard
from beam_jobs.shard_result import ShardResult, find_whole_shard
from beam_jobs.sources import digit_struct

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
        # What is loaded by now stays: else the collector looks through all of Beam every few thousand pictures.
        gc.freeze()

    def process(self, element: tuple[ShardKey, Iterable[bytes]]) -> Iterator[ShardKey]:
        key, lists = element
        name = str(self._plan.shard_name(*key))
        with ShardProgress(self._plan, name) as progress:
            if whole := find_whole_shard(self._plan, name):
                progress.add(whole.table.num_rows)
                count_kept_shard()
            else:
                self._write(key, name, progress.count(chain.from_iterable(map(unpack, lists))))
        yield key

    def _write(self, key: ShardKey, name: str, annotations: Iterable[Annotation]) -> None:
        plan = self._plan
        dynamic = plan.config.image_info(list(plan.shards)).dynamic
        records, rows = make_shard(annotations, *key, dynamic, plan.config, _PictureReader(plan.subsets))
        with ThreadPoolExecutor(1) as beside:
            # Digest and writing both let go of Python's lock: together they take as long as one.
            result = beside.submit(ShardResult.of, name, records, rows)
            files.publish(plan.path(name), records, plan.scratch)
        result.result().save(plan)
        count_shard(result.result(), [row.decode_us for row in rows if row.decode_us is not None])


class _PictureReader:
    """Returns the bytes of the picture of a key."""

    def __init__(self, subsets: Iterable[Subset]) -> None:
        self._folders = {subset.name: subset.folder for subset in subsets}

    def __call__(self, key: str) -> bytes:
        subset, picture = key.split("/", 1)
        return files.read_local(f"{self._folders[subset]}/{picture}")


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
