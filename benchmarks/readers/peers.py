"""Other packages: `tfrecord` on our shards, WebDataset and ArrayRecord on files in their formats.

`make_file` writes such a file. Each other function opens a job's examples and returns a `Pass`, which also completes
what a reader leaves out of a full record (pixels and lists as arrays, text as strings).
"""

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.readers.job import Job, Pass, arrays
from benchmarks.readers.ours import shuffled_by_grain
from tfrecords.files.index import index_path
from tfrecords.progress import progress_of
from tfrecords.record.codec import decode, decode_with_protobuf, encode
from tfrecords.record.schema import DYNAMIC_IMAGE
from tfrecords.webdataset import labels_json, sample_name, write_tar


def make_file(kind: str, job: Job, folder: Path) -> Path:
    """Writes a job's examples, in stored order, as one file of a kind in `_MAKERS` and returns its path."""
    path = folder / f"{kind}.file"
    _MAKERS[kind](job, path)
    return path


def _png_tar(job: Job, path: Path) -> None:
    """Writes a tar file as `python -m tfrecords export --to webdataset` does."""
    examples = job.open()
    with path.open("wb") as stream:
        write_tar(progress_of(examples, path.name, len(examples), "examples"), stream)


def _npy_tar(job: Job, path: Path) -> None:
    """Writes the same tar file with raw pixels, as NumPy files."""
    import webdataset

    # The current time has fractions and would take an additional header, which slows readers down.
    with webdataset.TarWriter(str(path), mtime=0) as writer:
        for example in job.open():
            labels = json.loads(labels_json(example))
            writer.write({"__key__": sample_name(example.key), "npy": example.image, "json": labels})


def _array_record(job: Job, path: Path) -> None:
    """Writes the same serialized Examples, ungrouped and uncompressed, which is fastest for random access."""
    from array_record.python.array_record_module import ArrayRecordWriter

    examples = job.open()
    image = examples.manifest.image
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for example in examples:
        writer.write(encode(example, image.encoding, image.dynamic))
    writer.close()


_MAKERS = {"webdataset-png": _png_tar, "webdataset-npy": _npy_tar, "arrayrecord": _array_record}


def tfrecord_package(job: Job) -> Pass:
    """Reads in stored order; without `shard`, as it is mostly used, the loader would start anywhere in a file."""
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
    features["boxes"] = features["boxes"].reshape(-1, 4)
    for name in ("key", "text"):
        features[name] = features[name].decode()
    return features


def webdataset_png(job: Job) -> Pass:
    """Reads the tar file that our export writes."""
    return _webdataset(job, "png")


def webdataset_npy(job: Job) -> Pass:
    """Reads the tar file with raw pixels, as our records have them."""
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
    """Reads with Grain and decodes with our decoder."""
    return shuffled_by_grain(_source(job), lambda data: arrays(decode(data)))


def array_record_protobuf(job: Job) -> Pass:
    """Reads with Grain and decodes with protobuf's classes, as one would without this package."""
    return shuffled_by_grain(_source(job), lambda data: arrays(decode_with_protobuf(data, "record")))


def _source(job: Job) -> Any:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource([job.file])
