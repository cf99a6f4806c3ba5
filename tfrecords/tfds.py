"""A dataset directory or a stream as a builder of TensorFlow Datasets. This module imports it with the first call."""

from pathlib import Path
from typing import Any

from tfrecords.dataset.snapshots import load_manifest, shard_directories
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes

_FEATURES = "features.json"


def tfds_builder(directory: Place | Path | str, snapshot: int | None = None) -> Any:
    """Returns a `tfds.core.DatasetBuilder` of a dataset directory, or of a snapshot of a stream.

        builder = tfrecords.tfds_builder("stream", snapshot=41)
        train = builder.as_dataset(split="train")

    A stream's directories are read as one dataset, which stays that of the snapshot when the stream grows.

    Args:
      directory: Dataset directory or stream, on this machine or at an address that TensorFlow reads, as gs://.
      snapshot: Number of the snapshot; None for the newest one of a stream.

    Raises:
      UserError: There is no such dataset or snapshot; or its directories store images in different ways, which
        TensorFlow Datasets cannot read together.
      ModuleNotFoundError: TensorFlow Datasets is not installed.
    """
    place = Place(directory)
    names = sorted(shard_directories(load_manifest(place, snapshot)))
    import tensorflow_datasets

    if not names:
        return tensorflow_datasets.builder_from_directory(place.text)
    _check_features(place, names)
    return tensorflow_datasets.builder_from_directories([(place / name).text for name in names])


def _check_features(stream: Place, names: list[str]) -> None:
    """Raises a UserError if not all directories have the same features, which the library takes from the first."""
    first = read_bytes(stream / names[0] / _FEATURES)
    for name in names[1:]:
        if read_bytes(stream / name / _FEATURES) != first:
            rule = f"{stream / names[0]} and {stream / name} must have equal {_FEATURES}, to be read together."
            raise UserError(rule, "images that are stored in different ways")
