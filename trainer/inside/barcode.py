"""Barcodes: the features that a model classifies a character by, averaged over the examples of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from trainer.inside.forward import layer_outputs

if TYPE_CHECKING:
    import keras

MOST_AVERAGED = 50
"""Largest number of examples of a class that its mean is taken over."""
MOST_SHOWN = 10
"""Largest number of examples of a class whose difference from the mean is returned."""
ATTENDED = "attended"
"""Name of the layer of `compact` that gathers the features of each position."""


@dataclass(frozen=True)
class Barcodes:
    """Features by class.

    Attributes:
      layer: Name of the layer that puts the features out.
      classes: Characters that have an example, in the order of the alphabet.
      means: Mean features of each class, over its first 50 examples: (classes, features) float32.
      examples: Features of the first ten examples of each class less the mean of the class: (classes, 10, features)
        float32. Rows are NaN where a class has fewer examples; there are fewer than ten where every class has.
      counts: Number of examples that each mean is taken over: (classes,) int64.
    """

    layer: str
    classes: str
    means: NDArray[np.float32]
    examples: NDArray[np.float32]
    counts: NDArray[np.int64]


def barcode_layer(model: keras.Model) -> str | None:
    """Returns the name of the layer whose output is a model's barcode, or None if the model has none.

    It is the layer `attended` of `compact`, of which the first position counts, or else the last global average.
    """
    from keras import layers

    if any(layer.name == ATTENDED for layer in model.layers):
        return ATTENDED
    pooled = [layer.name for layer in model.layers if isinstance(layer, layers.GlobalAveragePooling2D)]
    return pooled[-1] if pooled else None


def barcodes(
    model: keras.Model, images: NDArray[np.uint8], labels_index: NDArray[np.integer], alphabet: str
) -> Barcodes | None:
    """Returns the barcodes of a model, or None if it neither averages features over the image nor attends to it.

    Args:
      model: Model.
      images: Images, (images, height, width, channels) uint8.
      labels_index: Index of the first character of each image's number in the alphabet, (images,). Images with the
        padding, the size of the alphabet, have no character and do not count.
      alphabet: Characters of the classes.

    Raises:
      UserError: The images are not those of the model, there is not one index for each, or none has a character.
    """
    if (layer := barcode_layer(model)) is None:
        return None
    if labels_index.shape != images.shape[:1]:
        raise UserError(f"There must be one class for each of the {len(images):,} images.", labels_index.shape)
    chosen = [np.flatnonzero(labels_index == index)[:MOST_AVERAGED] for index in range(len(alphabet))]
    present = [index for index, members in enumerate(chosen) if members.size]
    if not present:
        raise UserError(f"Barcodes need an image of at least one of the characters {alphabet!r}.", "none")
    members = [chosen[index] for index in present]
    values = layer_outputs(model, [layer], images[np.concatenate(members)])[layer]
    values = values[:, 0] if layer == ATTENDED else values
    parts = np.split(values, np.cumsum([each.size for each in members])[:-1])
    means = np.stack([part.mean(axis=0, dtype=np.float64) for part in parts]).astype(np.float32)
    shown = min(MOST_SHOWN, max(map(len, parts)))
    examples = np.full((len(parts), shown, values.shape[1]), np.nan, np.float32)
    for place, part, mean in zip(examples, parts, means, strict=True):
        place[: len(part)] = part[:shown] - mean
    counts = np.array([len(part) for part in parts], np.int64)
    return Barcodes(layer, "".join(alphabet[index] for index in present), means, examples, counts)
