"""Beam pipelines: prepare itself with options of Beam, and the pipeline that most would write first.

    python -m benchmarks.prepare --input svhn --only loop,beam,beam-processes,beam-threads,write-to-tfrecord

compares them with the loop.
"""

from collections.abc import Iterator

import apache_beam as beam
import apache_beam.runners.portability.fn_api_runner.fn_runner  # imported here, so that no clock counts it

# For the same reason: the command imports them when its options are checked.
import beam_jobs.prepare.monitoring
import beam_jobs.prepare.split_warnings
import beam_jobs.prepare.transforms
import beam_jobs.sources.svhn.source  # noqa: F401
from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.job.runner import parse_beam_options
from beam_jobs.prepare.load_picture import PictureRow, load
from beam_jobs.prepare.make_shard import picture_examples
from benchmarks.prepare.job import Job
from benchmarks.prepare.workers import run_prepare
from tfrecords.record.codec import encode
from tfrecords.record.schema import DigitExample


def in_beam(job: Job) -> None:
    """Runs prepare on Beam's local runner, in process."""
    run_prepare(job, "--direct_num_workers", "1")


def with_processes(job: Job) -> None:
    """Runs prepare with worker processes, which Beam starts."""
    run_prepare(job, "--direct_running_mode", "multi_processing", "--direct_num_workers", str(job.workers))


def with_threads(job: Job) -> None:
    """Runs prepare with worker threads."""
    run_prepare(job, "--direct_running_mode", "multi_threading", "--direct_num_workers", str(job.workers))


def write_to_tfrecord(job: Job) -> None:
    """Runs prepare's kernel with one picture per element; Beam writes as many shards as prepare would.

    All pictures pass through the shuffle twice, the second time as records. There is no order, no separation of splits
    and no manifest.
    """
    with beam.Pipeline(options=parse_beam_options([], "prepare")) as pipeline:
        (
            pipeline
            | "Annotations" >> beam.Create(list(job.annotations()))
            | "Spread" >> beam.Reshuffle()
            | "Crop" >> beam.FlatMap(_records, job)
            | "Write" >> beam.io.WriteToTFRecord(f"{job.output}/svhn.tfrecord", num_shards=len(job.plan.shard_keys))
        )


def _records(annotation: Annotation, job: Job) -> Iterator[bytes]:
    for example in examples(annotation, job):
        yield encode(example, job.plan.config.encoding)


def examples(annotation: Annotation, job: Job) -> Iterator[DigitExample]:
    """Yields the examples that prepare makes of one picture; none if it rejects the picture."""
    try:
        for row, picture in load([PictureRow(annotation, job.split_of(annotation), 0)], job.read):
            yield from picture_examples(row, picture, job.plan.config)
    except RejectedError:
        return
