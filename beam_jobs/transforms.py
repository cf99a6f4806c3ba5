"""The pipeline's wiring. An element is a shard: only annotations are shuffled, never pixels."""

from collections.abc import Iterable, Iterator

import apache_beam as beam

from beam_jobs import files
from beam_jobs.annotation import Annotation
from beam_jobs.assign import shard_of, split_of
from beam_jobs.finish import ShardResult, finish
from beam_jobs.plan import Plan, Range
from beam_jobs.progress import ShardProgress
from beam_jobs.shard import make_shard
from beam_jobs.sources import digit_struct

ShardKey = tuple[str, int]


class ReadAnnotations(beam.PTransform):
    """Ranges of entries to Annotations, each range parsed by itself."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[Annotation]:
        return (
            root
            | "Ranges" >> beam.Create(self._plan.ranges)
            | "SpreadRanges" >> beam.Reshuffle()
            | "Parse" >> beam.FlatMap(_parse, self._plan.config.digit_order)
        )


class WriteShards(beam.PTransform):
    """Annotations to shards on disk; yields what each shard holds."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, annotations: beam.PCollection[Annotation]) -> beam.PCollection[ShardResult]:
        # A key without a value for every shard: one that no picture falls into must be written too.
        every = annotations.pipeline | "Shards" >> beam.Create([(key, None) for key in self._plan.shard_keys])
        assigned = annotations | "Assign" >> beam.Map(_assign, self._plan)
        return (
            (every, assigned)
            | "Merge" >> beam.Flatten()
            | "GatherShards" >> beam.GroupByKey()
            | "WriteShard" >> beam.ParDo(WriteShard(self._plan))
        )


class WriteShard(beam.DoFn):
    """Writes one shard: what one worker does at a time, in memory bounded by a shard."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def process(self, element: tuple[ShardKey, Iterable[Annotation | None]]) -> Iterator[ShardResult]:
        (split, shard), annotations = element
        plan = self._plan
        folders = {subset.name: subset.folder for subset in plan.subsets}
        name = str(plan.shard_name(split, shard))

        def read(key: str) -> bytes:
            subset, picture = key.split("/", 1)
            return files.read_bytes(files.join(folders[subset], picture))

        with ShardProgress(plan.output, name) as progress:
            present = progress.count(annotation for annotation in annotations if annotation)
            dynamic = plan.config.image_info(list(plan.shards)).dynamic
            records, rows = make_shard(present, split, shard, dynamic, plan.config, read)
        files.publish(plan.path(name), records)
        yield ShardResult.of(split, shard, name, records, rows)


class Finish(beam.PTransform):
    """Everything beside the shards, once all are written: one element, so one worker, once."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def expand(self, results: beam.PCollection[ShardResult]) -> beam.PCollection[None]:
        return (
            results
            | "OneKey" >> beam.WithKeys("dataset")
            | "GatherResults" >> beam.GroupByKey()
            | "WriteManifest" >> beam.Map(lambda element, plan: finish(element[1], plan), self._plan)
        )


def _parse(entries: Range, digit_order: str) -> Iterator[Annotation]:
    subset = entries.subset
    return digit_struct.read_annotations(subset.annotation_file, subset.name, entries.start, entries.stop, digit_order)


def _assign(annotation: Annotation, plan: Plan) -> tuple[ShardKey, Annotation]:
    config = plan.config
    split = split_of(annotation.subset, annotation.key, config.seed, config.fractions)
    return (split, shard_of(annotation.key, config.seed, plan.shards[split])), annotation
