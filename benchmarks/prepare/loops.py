"""Ways without a pipeline: a bare loop, the same loop with the usual libraries, and the loop in several processes.

    python -m benchmarks.prepare --input svhn --only loop,pillow,processes

runs them. They show the overhead of prepare over its kernel, the gain of the kernel, and the limit of two processors.
"""

import io
import multiprocessing
from collections.abc import Iterator

import numpy as np
from PIL import Image

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.assign import order_of
from beam_jobs.prepare.make_shard import make_shard
from benchmarks.prepare.job import Job
from tfrecords.errors import UserError
from tfrecords.files.framing import frame
from tfrecords.images.crop import boxes_in_windows, crop_box, window
from tfrecords.record.codec import _Example
from tfrecords.record.labels import Labels
from tfrecords.record.schema import KINDS, DigitExample

ShardKey = tuple[str, int]

LABELS = Labels()


def loop(job: Job) -> None:
    """Runs prepare's kernel, shard after shard, and nothing else."""
    for key, annotations in job.gather().items():
        _make(job, key, annotations)


def _make(job: Job, key: ShardKey, annotations: list[Annotation], lasting: bool = False) -> None:
    dynamic = job.plan.image.dynamic
    records, _ = make_shard(annotations, *key, dynamic, job.plan.config, job.read)
    job.write(key, records, lasting)


_Work = tuple[Job, dict[ShardKey, list[Annotation]], bool]
_forked: _Work | None = None
"""Work of the processes, which find it in their forked memory, so that nothing is sent to them."""


def processes(job: Job) -> None:
    """Runs the loop in several processes, each taking the next shard: the limit of the processors."""
    _run_forked(job, lasting=False)


def lasting_processes(job: Job) -> None:
    """Runs the same, and digests and syncs each shard: the limit of any way whose result a manifest can name."""
    _run_forked(job, lasting=True)


def _run_forked(job: Job, lasting: bool) -> None:
    global _forked
    shards = job.gather()
    _forked = job, shards, lasting
    largest_first = sorted(shards, key=lambda key: -len(shards[key]))
    with multiprocessing.get_context("fork").Pool(job.workers) as pool:
        pool.map(_make_forked, largest_first, chunksize=1)
        pool.close()
        pool.join()  # before that, their processor time is not known


def _make_forked(key: ShardKey) -> None:
    assert _forked is not None
    job, shards, lasting = _forked
    _make(job, key, shards[key], lasting)


def pillow(job: Job) -> None:
    """Runs the loop with Pillow and protobuf's classes, without the rows that prepare keeps for each picture."""
    config = job.plan.config
    for key, annotations in job.gather().items():
        placed = [
            (order_of(example.key, config.seed), frame(encode_with_protobuf(example)))
            for annotation in annotations
            if not annotation.dead
            for example in _examples(annotation, key[0], job)
        ]
        placed.sort(key=lambda item: item[0])
        job.write(key, [record for _, record in placed])


def _examples(annotation: Annotation, split: str, job: Job) -> Iterator[DigitExample]:
    """Yields the examples of a picture as `beam_jobs.prepare.make_shard` does, with Pillow alone."""
    config, spec = job.plan.config, job.plan.config.crop
    try:
        picture = Image.open(io.BytesIO(job.read(annotation.key))).convert("RGB")
        box = crop_box(annotation.boxes, spec.growth, picture.height, picture.width)
    except (OSError, UserError):
        return
    cropped = picture.crop((int(box.xmin), int(box.ymin), int(box.xmax), int(box.ymax)))
    crop = np.asarray(cropped.resize(spec.crop_shape[::-1], Image.Resampling.BILINEAR))
    keys = [f"{annotation.key}#{jitter}" for jitter in range(config.jitters(split) or 1)]
    offsets = [spec.jitter(config.seed, key) if config.jitters(split) else spec.centre for key in keys]
    boxes = boxes_in_windows(annotation.boxes, box, spec.crop_shape, offsets, LABELS.max_length)
    for key, offset, window_boxes in zip(keys, offsets, boxes, strict=True):
        yield DigitExample(
            key=key,
            image=window(crop, offset, spec.record_shape),
            digits=LABELS.digits(annotation.text),
            length=len(annotation.text),
            crop_box=np.array(box, np.int64),
            jitter_offset=np.array(offset, np.int64),
            source_size=np.array((picture.height, picture.width), np.int64),
            boxes=window_boxes,
        )


def encode_with_protobuf(example: DigitExample) -> bytes:
    """Returns the record, serialized by protobuf's classes feature by feature."""
    values = {
        "key": [example.key.encode()],
        "image": [example.image.tobytes()],
        "image/format": [b"raw"],
        "image/shape": example.image.shape,
        "text": [example.text.encode()],
        "length": [example.length],
        "digits": example.digits.tolist(),
        "crop_box": example.crop_box.tolist(),
        "jitter_offset": example.jitter_offset.tolist(),
        "source_size": example.source_size.tolist(),
        "boxes": example.boxes.ravel().tolist(),
        "has_digit_boxes": [1],
    }
    record = _Example()
    for name, items in values.items():
        getattr(record.features.feature[name], f"{KINDS[name]}_list").value.extend(items)
    return bytes(record.SerializeToString())
