"""Records of a shard with the corrected annotations of their numbers: the pixels stay as they are."""

import io
from dataclasses import replace

import numpy as np

from beam_jobs.annotation import Annotation
from beam_jobs.prepare.backgrounds import MARK
from beam_jobs.prepare.make_scenes import label_scene
from beam_jobs.watch.correcting.corrected_rows import Changes
from beam_jobs.watch.record_keys import example_of, record_key
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.files.framing import FRAMING_BYTES, Record, frame, read_frames
from tfrecords.record.codec import decode, encode_in_parts
from tfrecords.record.labels import Labels
from tfrecords.record.scene import decode_scene, encode_scene
from tfrecords.record.schema import DigitExample


def corrected_records(data: bytes, name: str, changes: Changes, manifest: Manifest) -> list[bytes]:
    """Returns the framed records of a shard, corrected, in its order.

    Args:
      data: Content of the shard.
      name: Name of the shard in error messages.
      changes: What changes.
      manifest: Manifest of the shard.

    Raises:
      UserError: A record is damaged.
    """
    records = []
    for record in read_frames(io.BytesIO(data), name, verify=False):
        key = record_key(record.data, manifest, record.location)
        of = example_of(key, manifest)
        annotations = changes.get(of)
        if annotations is None or (annotations and key.startswith(f"{of}{MARK}")):
            start = record.location.offset
            records.append(data[start : start + len(record.data) + FRAMING_BYTES])
        elif annotations and manifest.task == FIND:
            records.append(_scene(record, list(annotations), manifest))
        elif annotations:
            records.append(_number(record, annotations[0], manifest))
    return records


def _number(record: Record, annotation: Annotation, manifest: Manifest) -> bytes:
    """Returns the framed record of a number that has another text."""
    example = decode(record.data, record.location, manifest.labels, manifest.schema_version)
    relabelled = _relabelled(example, annotation, manifest.labels)
    return frame(*encode_in_parts(relabelled, manifest.image.encoding, manifest.image.dynamic))


def _relabelled(example: DigitExample, annotation: Annotation, labels: Labels) -> DigitExample:
    """Returns an example with the text of a corrected annotation, and its boxes only if that has them."""
    has_boxes = len(annotation.boxes) == len(annotation.text)
    return replace(
        example,
        digits=labels.digits(annotation.text),
        length=len(annotation.text),
        boxes=example.boxes if has_boxes else np.zeros_like(example.boxes),
        has_digit_boxes=has_boxes,
    )


def _scene(record: Record, annotations: list[Annotation], manifest: Manifest) -> bytes:
    """Returns the framed record of a picture with these annotations."""
    scene = decode_scene(record.data, record.location, manifest.labels.alphabet)
    (height, width), (rows, columns) = scene.source_size.tolist(), scene.content_size.tolist()
    found = label_scene(scene.key, annotations, scene.image, (height, width), (rows, columns), manifest.labels)
    return frame(encode_scene(found, manifest.image.encoding, scene.file))
