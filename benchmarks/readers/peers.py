"""Other packages' readers: `tfrecord` on our shards, WebDataset and ArrayRecord on the same pictures in their formats.

Each function opens what it needs and returns what reads all examples once, each time it is called. What a reader
leaves undone of a full record (pixels and numbers as arrays, text as strings) is done here.
"""

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.readers.job import Job, arrays
from benchmarks.readers.ours import Pass, shuffled_by_grain
from tfrecords.files.index import index_path
from tfrecords.record.codec import decode, decode_with_protobuf
from tfrecords.record.schema import DYNAMIC_IMAGE, FEATURES


def tfrecord_package(job: Job) -> Pass:
    """In stored order: as it is used most, without `shard`, it begins anywhere in a file."""
    from tfrecord.reader import tfrecord_loader

    indexes = {str(path): index_path(str(path)) for path in job.paths}

    def read() -> Iterator[dict[str, Any]]:
        for path, index in indexes.items():
            for features in tfrecord_loader(path, index if Path(index).exists() else None, shard=(0, 1)):
                yield _complete(features)

    return lambda: islice(read(), job.examples)


def _complete(features: dict[str, Any]) -> dict[str, Any]:
    data = features.pop(DYNAMIC_IMAGE if DYNAMIC_IMAGE in features else "image")
    shape = features.pop("image/shape")
    raw = features.pop("image/format") == b"raw"
    pixels = np.frombuffer(data, np.uint8) if raw else np.asarray(Image.open(io.BytesIO(data)))
    features["image"] = pixels.reshape(shape)
    features["boxes"] = features["boxes"].reshape(FEATURES["boxes"].shape)
    for name in ("key", "text"):
        features[name] = features[name].decode()
    return features


def webdataset_png(job: Job) -> Pass:
    """The tar file that our own export writes."""
    return _webdataset(job, "png")


def webdataset_npy(job: Job) -> Pass:
    """Raw pixels, as in our records."""
    return _webdataset(job, "npy")


def _webdataset(job: Job, suffix: str) -> Pass:
    import webdataset

    shape = job.open()[0].image.shape
    samples = webdataset.WebDataset(job.file, shardshuffle=False).decode("l8" if shape[2] == 1 else "rgb8")

    def complete(sample: tuple[np.ndarray, dict[str, Any]]) -> dict[str, Any]:
        image, example = sample
        for name, value in example.items():
            if isinstance(value, list):
                example[name] = np.array(value, np.float32 if name == "boxes" else np.int64)
        example["image"] = image.reshape(shape)
        return example

    dataset = samples.to_tuple(suffix, "json").map(complete)
    return lambda: iter(dataset)


def array_record(job: Job) -> Pass:
    """Grain reads, and our own decoder decodes."""
    return shuffled_by_grain(_source(job), lambda data: arrays(decode(data)))


def array_record_protobuf(job: Job) -> Pass:
    """Grain reads, and protobuf decodes, as it would without us."""
    return shuffled_by_grain(_source(job), lambda data: arrays(decode_with_protobuf(data, "record")))


def _source(job: Job) -> Any:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource([job.file])
