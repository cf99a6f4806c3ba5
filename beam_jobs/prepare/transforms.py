"""The pipeline's wiring. An element is a shard: only annotations are shuffled, never pixels."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.annotation import Annotation, pack, unpack
from beam_jobs.job.given import Range
from beam_jobs.job.memory import release_memory
from beam_jobs.job.pictures import Read, picture_reader
from beam_jobs.prepare.assign import shard_of, split_of
from beam_jobs.prepare.check_label import check_label
from beam_jobs.prepare.leaks import FindLeaks, Leaks, leaves_out, without_leaks
from beam_jobs.prepare.make_shard import make_shard
from beam_jobs.prepare.monitoring import ShardProgress, count_decoding, count_kept_shard, count_shard
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.publish_dataset import publish_dataset
from beam_jobs.prepare.publish_shard import ShardResult, find_complete_shard, publish_shard
from beam_jobs.prepare.survey import limit_digest
from beam_jobs.prepare.versions import check_worker
from beam_jobs.sources import load_source

ShardKey = tuple[str, int]
"""Split and index of a shard."""


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
            | "Ranges" >> beam.Create(self._plan.ranges)
            | "SpreadRanges" >> beam.Reshuffle()
            | "ParseAndAssign" >> beam.FlatMap(_parse_and_assign, self._plan)
        )


class WriteShards(beam.PTransform):
    """Writes annotations as shards; yields the keys of the shards that are complete."""

    def __init__(self, plan: Plan) -> None:
        """Takes the plan of the job."""
        super().__init__()
        self._plan = plan

    def expand(self, assigned: beam.PCollection[tuple[ShardKey, bytes]]) -> beam.PCollection[ShardKey]:
        """Applies the transform to lists of annotations by shard."""
        # An empty list per shard: a shard without pictures must be written too.
        every = assigned.pipeline | "Shards" >> beam.Create([(key, pack([])) for key in self._plan.shard_keys])
        leaks = None
        if self._plan.config.on_leak == "drop":
            leaks = beam.pvalue.AsDict(assigned | "FindLeaks" >> FindLeaks(self._plan, _reader))
        return (
            (every, assigned)
            | "Merge" >> beam.Flatten()
            | "GatherShards" >> beam.GroupByKey()
            | "WriteShard" >> beam.ParDo(WriteShard(self._plan), leaks)
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
        # Hashing and writing release Python's lock, so they cost no time during the next shard's pictures. Where all
        # processors have workers of their own, the thread would only slow these down.
        self._writer = ThreadPoolExecutor(1) if self._plan.writes_in_background else None
        self._written: Future[ShardResult] | None = None
        self._key: ShardKey | None = None

    def process(self, element: tuple[ShardKey, Iterable[bytes]], leaks: Leaks | None = None) -> Iterator[ShardKey]:
        """Makes and writes the shard of a key, without leaks; yields the keys of the shards that are written by now."""
        check_worker(self._plan)
        key, lists = element
        name = str(self._plan.shard_name(*key))
        with ShardProgress(self._plan, name) as progress:
            complete = find_complete_shard(self._plan, name)
            if complete and (leaks is None or leaves_out(complete.table, key[0], leaks)):
                progress.add(complete.table.num_rows)
                count_kept_shard()
                yield key
                return
            annotations = without_leaks(chain.from_iterable(map(unpack, lists)), key[0], leaks or {})
            dynamic = self._plan.config.image_info(list(self._plan.shards)).dynamic
            records, rows = make_shard(
                progress.count(annotations),
                *key,
                dynamic,
                self._plan.config,
                _reader(self._plan),
                self._plan.reads_remote,
            )
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
        """Waits for the last shard and yields its key."""
        for key in self._await_written():
            yield GlobalWindows.windowed_value(key)
        if self._writer:
            self._writer.shutdown()

    def _await_written(self) -> Iterator[ShardKey]:
        """Waits for the shard that is being written, if there is one, and yields its key."""
        if self._written and self._key:
            count_shard(self._written.result())
            yield self._key
        self._key = self._written = None


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
            | "WriteManifest" >> beam.Map(lambda _, plan: publish_dataset(plan, _reader(plan)), self._plan)
        )


def _parse_and_assign(entries: Range, plan: Plan) -> Iterator[tuple[ShardKey, bytes]]:
    """Yields the annotations of a range, packed, for each shard that some of them are assigned to."""
    check_worker(plan)
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
        shards[split, shard].append(check_label(annotation, labels, split))
    for key, annotations in shards.items():
        yield key, pack(annotations)


def _reader(plan: Plan) -> Read:
    """Returns the function that reads the picture of a subset and a name."""
    return picture_reader(plan.config.source, plan.subsets)
