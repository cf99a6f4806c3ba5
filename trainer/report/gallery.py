"""Choice of the predictions worth a look, and their images."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfrecords.files.place import Place
from trainer.scoring.prediction_file import Prediction

MOST_WRONG, MOST_UNSURE, MOST_RIGHT = 24, 12, 24


@dataclass(frozen=True)
class Gallery:
    """The chosen predictions.

    Attributes:
      wrong: Wrong predictions, the most confident first.
      unsure: Right predictions, the least confident first.
      right: Other right predictions: a fixed sample, ordered by the digests of their keys.
    """

    wrong: tuple[Prediction, ...]
    unsure: tuple[Prediction, ...]
    right: tuple[Prediction, ...]

    def keys(self) -> set[str]:
        """Returns the keys of all chosen predictions."""
        return {one.key for one in (*self.wrong, *self.unsure, *self.right)}


def choose(predictions: Iterable[Prediction]) -> Gallery:
    """Returns the predictions to show, which do not depend on the order of `predictions`."""
    everything = list(predictions)
    wrong = sorted((one for one in everything if not one.correct), key=lambda one: (-one.confidence, one.key))
    right = sorted((one for one in everything if one.correct), key=lambda one: (one.confidence, one.key))
    sample = sorted(right[MOST_UNSURE:], key=lambda one: hashlib.sha256(one.key.encode()).digest())
    return Gallery(tuple(wrong[:MOST_WRONG]), tuple(right[:MOST_UNSURE]), tuple(sample[:MOST_RIGHT]))


def load_examples(
    data_dir: Place | Path, split: str, keys: Collection[str], snapshot: int | None = None
) -> dict[str, Any]:
    """Returns the examples, or the scenes, of `keys`, read in one pass that ends at the last of them.

    Args:
      data_dir: Dataset directory.
      split: Split of the examples.
      keys: Keys of the examples.
      snapshot: Number of a snapshot, if the directory is a stream; None for its newest one.

    Returns:
      Key to example, without the keys that the split does not have.

    Raises:
      UserError: The directory is not a dataset, or has no such split.
      OSError: A file cannot be read.
    """
    # Imported here, since a page without images needs no reader of records.
    import tfrecords

    found: dict[str, Any] = {}
    for example in tfrecords.open(str(data_dir), split, snapshot=snapshot) if keys else ():
        if example.key in keys:
            found[example.key] = example
            if len(found) == len(keys):
                break
    return found


def load_images(
    data_dir: Place | Path, split: str, keys: Collection[str], snapshot: int | None = None
) -> dict[str, npt.NDArray[np.uint8]]:
    """Returns the images of the examples of `load_examples`: uint8 arrays of shape (height, width, channels)."""
    return {key: each.image for key, each in load_examples(data_dir, split, keys, snapshot).items()}


def top_confusions(confusion: Sequence[Sequence[int]], most: int = 6) -> list[tuple[int, int, int]]:
    """Returns (true digit, predicted digit, count) of the most frequent confusions, the most frequent first.

    Digits are indices into the alphabet.

    Args:
      confusion: (characters, characters) counts; rows are true digits, columns predicted ones.
      most: Largest number of confusions to return.
    """
    pairs = [
        (truth, predicted, count)
        for truth, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if truth != predicted and count > 0
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))[:most]
