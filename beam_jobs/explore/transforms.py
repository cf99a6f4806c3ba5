"""The pipeline's wiring: an element is a block of entries, or what was found in one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_jobs.annotation import Annotation, DeadLetter
from beam_jobs.explore.config import ExploreConfig, ExploreJob
from beam_jobs.explore.duplicates import Candidate, Duplicates, find_duplicates, pack_by_bucket
from beam_jobs.explore.gallery import make_gallery
from beam_jobs.explore.headers import Header, read_headers
from beam_jobs.explore.measure import measure
from beam_jobs.explore.page import render
from beam_jobs.explore.publish import publish
from beam_jobs.explore.statistics import Statistics
from beam_jobs.explore.summary import statistics_json
from beam_jobs.job.faults import Faults, unless
from beam_jobs.job.given import Range, ranges_of, reads_remote
from beam_jobs.job.mounts import Mounts
from beam_jobs.job.pictures import picture_reader
from beam_jobs.job.progress import write_count
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Subset
from tfrecords.digests import stable_digest

_SAMPLED = 60
"""Annotations that are drawn for a page of 15 pictures: some files turn out to be damaged when they are decoded."""
_FOUND, _CANDIDATES = "found", "candidates"
COUNTER = "streetdigits", "entries_done"
"""Namespace and name of the counter of entries."""


@dataclass(frozen=True)
class Plan:
    """What a job reads, and how.

    Attributes:
      config: How the input is read.
      subsets: Subsets to read.
      counts: Local folder for the numbers of entries that are done; None where workers cannot reach one.
      mounts: Local paths that every worker must see; none if all workers are on this machine.
    """

    config: ExploreConfig
    subsets: tuple[Subset, ...]
    counts: str | None = None
    mounts: Mounts = field(default_factory=Mounts)


@dataclass
class Found:
    """What was found in some entries.

    Attributes:
      statistics: Statistics by subset.
      duplicates: Pictures of equal content.
      sample: Digest and annotation of a random sample of numbers: those with the smallest digests.
    """

    statistics: dict[str, Statistics] = field(default_factory=dict)
    duplicates: Duplicates = field(default_factory=Duplicates)
    sample: list[tuple[int, Annotation]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        """Adds what was found in other entries."""
        for subset, statistics in other.statistics.items():
            self.statistics.setdefault(subset, Statistics()).add(statistics)
        self.duplicates.add(other.duplicates)
        self.sample = _smallest([*self.sample, *other.sample])


class Explore(beam.PTransform):
    """Reads annotations and the beginnings of their pictures; yields what was found in all of them, one element."""

    def __init__(self, plan: Plan, faults: Faults = None) -> None:
        """Takes the plan of the job, and the faults that keep it from doing anything."""
        super().__init__()
        self._plan, self._faults = plan, faults

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[Found]:
        """Applies the transform to the start of the pipeline."""
        blocks = (
            unless(root | "Ranges" >> beam.Create(ranges_of(self._plan.subsets)), self._faults)
            | "SpreadRanges" >> beam.Reshuffle()
            | "Measure" >> beam.FlatMap(_measure_block, self._plan).with_outputs(_FOUND, _CANDIDATES)
        )
        duplicates = (
            blocks[_CANDIDATES]
            | "GatherCandidates" >> beam.GroupByKey()
            | "CompareContent" >> beam.Map(_compare, self._plan)
        )
        found = (blocks[_FOUND], duplicates) | beam.Flatten() | "AddUp" >> beam.CombineGlobally(_AddUp())
        # The sum of nothing is a page, too.
        return unless(found, self._faults, "UnlessFaultsAtEnd")


class _AddUp(beam.CombineFn):
    """Adds up what was found."""

    def create_accumulator(self) -> Found:
        return Found()

    def add_input(self, accumulator: Found, element: Found) -> Found:
        accumulator.add(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Found]) -> Found:
        merged = Found()
        for each in accumulators:
            merged.add(each)
        return merged

    def extract_output(self, accumulator: Found) -> Found:
        return accumulator


def explore_block(block: Range, config: ExploreConfig, is_remote: bool) -> tuple[Found, list[Candidate]]:
    """Returns what was found in a block of entries, and the pictures that may be equal to others.

    Args:
      block: Entries to read.
      config: How they are read.
      is_remote: Whether the pictures are at an address.
    """
    source, subset = load_source(config.source), block.subset
    entries = list(source.read_annotations(subset, block.start, block.stop, config.digit_order, config.reading))
    usable = [annotation for annotation in entries if annotation.dead is None]
    headers = [header for _, header in read_headers(usable, source, subset, config.upright, is_remote)]
    sizes = [header.size if isinstance(header, Header) else None for header in headers]
    statistics = measure(usable, sizes, config.crop.growth)
    statistics.entries = len(entries)
    statistics.rejected.update(annotation.dead.reason for annotation in entries if annotation.dead)
    statistics.rejected.update(header.reason for header in headers if isinstance(header, DeadLetter))
    known = [(one, header) for one, header in zip(usable, headers, strict=True) if isinstance(header, Header)]
    candidates = [Candidate(header.fingerprint, one.picture, one.text) for one, header in known if one.part <= 1]
    sample = ((stable_digest(f"{config.seed}/explore/{one.key}"), one) for one, _ in known)
    return Found({subset.name: statistics}, sample=_smallest(sample)), candidates


def _measure_block(block: Range, plan: Plan) -> Iterator[beam.pvalue.TaggedOutput]:
    plan.mounts.require()
    found, candidates = explore_block(block, plan.config, reads_remote(plan.subsets))
    yield beam.pvalue.TaggedOutput(_FOUND, found)
    for packed in pack_by_bucket(candidates):
        yield beam.pvalue.TaggedOutput(_CANDIDATES, packed)
    Metrics.counter(*COUNTER).inc(block.stop - block.start)
    if plan.counts:
        write_count(Path(plan.counts, f"{block.subset.name}-{block.start}"), block.stop - block.start)


def _compare(bucket: tuple[int, Iterable[bytes]], plan: Plan) -> Found:
    return Found(duplicates=find_duplicates(bucket[1], picture_reader(plan.config.source, plan.subsets)))


def _smallest(sample: Iterable[tuple[int, Annotation]]) -> list[tuple[int, Annotation]]:
    return heapq.nsmallest(_SAMPLED, sample, key=lambda one: (one[0], one[1].key, one[1].index))


class WritePage(beam.PTransform):
    """Writes the page and the statistics: one element, so one worker, once."""

    def __init__(self, plan: Plan, job: ExploreJob) -> None:
        """Takes the plan of the job, and what it reads and writes."""
        super().__init__()
        self._plan, self._job = plan, job

    def expand(self, found: beam.PCollection[Found]) -> beam.PCollection[None]:
        """Applies the transform to what was found in all entries."""
        return found | "Write" >> beam.Map(_write, self._plan, self._job)


def _write(found: Found, plan: Plan, job: ExploreJob) -> None:
    plan.mounts.require()
    config = plan.config
    read = picture_reader(config.source, plan.subsets)
    sample = [annotation for _, annotation in found.sample]
    gallery = make_gallery(sample, read, config.upright, config.crop, config.seed)
    # In the order of the source, which does not depend on the runner.
    statistics = {subset.name: found.statistics.get(subset.name, Statistics()) for subset in plan.subsets}
    page = render(job.given.place.name, statistics, found.duplicates, gallery, config)
    publish(job.output, page, statistics_json(statistics, found.duplicates, config))
