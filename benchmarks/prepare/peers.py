"""The pipeline that most write first: an element is a picture, and Beam writes the TFRecords.

    python -m benchmarks.prepare --input svhn --only loop,prepare,write-to-tfrecord

runs it. All pictures pass through the shuffle twice, the second time as records.
"""

from collections.abc import Iterator

import apache_beam as beam
import apache_beam.runners.portability.fn_api_runner.fn_runner

from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.prepare.load_picture import PictureRow, load
from beam_jobs.prepare.make_shard import _examples
from beam_jobs.prepare.runner import parse_beam_options
from benchmarks.prepare.job import Job
from tfrecords.record.codec import encode
from tfrecords.record.schema import DigitExample


def write_to_tfrecord(job: Job) -> None:
    """prepare's kernel, and as many shards as it would write; no order, no splits apart, no manifest."""
    with beam.Pipeline(options=parse_beam_options([])) as pipeline:
        (
            pipeline
            | "Annotations" >> beam.Create(list(job.annotations()))
            | "Spread" >> beam.Reshuffle()
            | "Cut" >> beam.FlatMap(_records, job)
            | "Write" >> beam.io.WriteToTFRecord(f"{job.output}/svhn.tfrecord", num_shards=len(job.plan.shard_keys))
        )


def _records(annotation: Annotation, job: Job) -> Iterator[bytes]:
    for example in examples(annotation, job):
        yield encode(example, job.plan.config.encoding)


def examples(annotation: Annotation, job: Job) -> Iterator[DigitExample]:
    """Yields the examples of one picture, as prepare makes them; none of one that it rejects."""
    try:
        for row, picture in load([PictureRow(annotation, job.split_of(annotation), 0)], job.read):
            yield from _examples(row, picture, job.plan.config)
    except RejectedError:
        return
