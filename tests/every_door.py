"""Prints what each door gives of each dataset's splits, without TensorFlow: digests of examples in its order, as JSON.

python -m tests.every_door '[["DATASET", "PARQUET", "ARROW", "WEBDATASET"], ...]' SPLIT...
"""

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfrecords

Door = Callable[[str, str], Iterable[Mapping[str, Any]]]
INTEGERS = ("digits", "length", "crop_box", "jitter_offset", "source_size", "has_digit_boxes")


def digest(example: Mapping[str, Any]) -> str:
    """Returns a digest of everything in an example; `image` is (height, width, channels), numbers of any type."""
    image = np.asarray(example["image"])
    assert image.dtype == np.uint8, image.dtype
    parts = [str(example["key"]), str(example["text"]), repr(image.shape), image.tobytes().hex()]
    parts += [repr(np.asarray(example[name], np.int64).tolist()) for name in INTEGERS]
    parts.append(repr(np.array([list(row) for row in example["boxes"]], np.float32).tolist()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def numpy_one_by_one(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    examples = tfrecords.open(data, split)
    return (examples[number].to_dict() for number in range(len(examples)))


def numpy_iterated(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    return (example.to_dict() for example in tfrecords.open(data, split))


def numpy_batches(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    for batch in tfrecords.Batches(tfrecords.open(data, split), 7):
        yield from ({name: batch[name][row] for name in batch} for row in range(len(batch["key"])))


def records(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    manifest = tfrecords.Manifest.load(data)
    stated: dict[str, Any] = {"labels": manifest.labels, "version": manifest.schema_version}
    for path in sorted(Path(data).glob(f"*-{split}.tfrecord-*")):
        yield from (tfrecords.decode(record, **stated).to_dict() for record in tfrecords.RecordFile(str(path)))


def pytorch_map(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    from torch.utils.data import DataLoader

    from tfrecords.torch import DigitDataset

    dataset = DigitDataset(tfrecords.open(data, split))
    for example in DataLoader(dataset, batch_size=None, num_workers=2):
        yield {**example, "image": np.moveaxis(example["image"].numpy(), 0, -1)}


def pytorch_iterable(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    from torch.utils.data import DataLoader

    from tfrecords.torch import DigitBatches

    for batch in DataLoader(DigitBatches(tfrecords.open(data, split), 7), batch_size=None, num_workers=2):
        for row in range(len(batch["key"])):
            example = {name: batch[name][row] for name in batch}
            yield {**example, "image": np.moveaxis(example["image"].numpy(), 0, -1)}


def grain(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    import grain

    from tfrecords.grain import DigitSource

    return iter(grain.MapDataset.source(DigitSource(tfrecords.open(data, split))))


def pandas_parquet(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    import pandas

    for path in sorted(Path(data).glob(f"data/{split}-*.parquet")):
        for row in pandas.read_parquet(path).to_dict("records"):
            yield {**row, "image": _pixels(row["image"]["bytes"])}


def hugging_face_parquet(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    import datasets

    files = {split: str(Path(data) / "data" / f"{split}-*.parquet")}
    for row in datasets.load_dataset("parquet", data_files=files, split=split, cache_dir=f"{data}-cache"):
        yield {**row, "image": _pixels(row["image"])}


def arrow(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa

    for path in sorted(Path(data).glob(f"data/{split}-*.arrow")):
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist():
            yield {**row, "image": _pixels(row["image"]["bytes"])}


def webdataset(data: str, split: str) -> Iterator[Mapping[str, Any]]:
    import webdataset

    tars = [str(path) for path in sorted(Path(data).glob(f"{split}-*.tar"))]
    for picture, labels in webdataset.WebDataset(tars, shardshuffle=False).to_tuple("png", "json"):
        yield {**json.loads(labels), "image": _pixels(picture)}


NEEDS: dict[Door, str] = {
    pytorch_map: "torch",
    pytorch_iterable: "torch",
    grain: "grain",
    pandas_parquet: "pandas",
    hugging_face_parquet: "datasets",
    webdataset: "webdataset",
}
"""Modules of other libraries that a door opens with; a door whose library is not installed is left out."""


def _pixels(picture: Any) -> np.ndarray:
    image = np.asarray(Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture)
    return image.reshape(*image.shape[:2], -1)


def answers(splits: tuple[str, ...], data: str, parquet: str, arrow_files: str, tars: str) -> dict[str, Any]:
    """Returns, for each split and door, the digest of each example."""
    doors: list[tuple[Door, str]] = [
        (numpy_one_by_one, data),
        (numpy_iterated, data),
        (numpy_batches, data),
        (records, data),
        (pytorch_map, data),
        (pytorch_iterable, data),
        (grain, data),
        (pandas_parquet, parquet),
        (hugging_face_parquet, parquet),
        (arrow, arrow_files),
        (webdataset, tars),
    ]
    there = [(door, place) for door, place in doors if find_spec(NEEDS.get(door, "tfrecords"))]
    return {
        split: {door.__name__: [digest(row) for row in door(place, split)] for door, place in there} for split in splits
    }


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # any import of it now fails
    print(json.dumps([answers(tuple(sys.argv[2:]), *places) for places in json.loads(sys.argv[1])]))
    assert not {"apache_beam", "keras"} & set(sys.modules)
