"""The examples in other packages' formats, for their readers.

    make("webdataset-png", job, folder)

writes one file, in the stored order.
"""

import json
from pathlib import Path

from tqdm import tqdm

from benchmarks.readers.job import Job
from tfrecords.record.codec import encode
from tfrecords.webdataset import labels_json, sample_name, write_tar


def make(kind: str, job: Job, folder: Path) -> Path:
    """Writes a job's examples as one file of a kind in `_MAKERS` and returns its path."""
    path = folder / f"{kind}.file"
    _MAKERS[kind](job, path)
    return path


def _png_tar(job: Job, path: Path) -> None:
    """A tar file as `python -m tfrecords export --to webdataset` makes it."""
    with path.open("wb") as stream:
        write_tar(tqdm(job.open(), path.name, unit=" examples", leave=False, disable=None), stream)


def _npy_tar(job: Job, path: Path) -> None:
    """The same tar file with raw pixels, as NumPy files."""
    import webdataset

    # A time of now, which has fractions, takes a header of its own, which readers pay for.
    with webdataset.TarWriter(str(path), mtime=0) as writer:
        for example in job.open():
            labels = json.loads(labels_json(example))
            writer.write({"__key__": sample_name(example.key), "npy": example.image, "json": labels})


def _array_record(job: Job, path: Path) -> None:
    """The same serialized Examples, by themselves and uncompressed: what random access is the fastest with."""
    from array_record.python.array_record_module import ArrayRecordWriter

    examples = job.open()
    image = examples.manifest.image
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for example in examples:
        writer.write(encode(example, image.encoding, image.dynamic))
    writer.close()


_MAKERS = {"webdataset-png": _png_tar, "webdataset-npy": _npy_tar, "arrayrecord": _array_record}
