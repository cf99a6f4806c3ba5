"""What an explanation shows of a model: its layers and kernels, and what it does with a few images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.inside.attention import attention_maps
from trainer.inside.barcode import MOST_AVERAGED, Barcodes, barcodes
from trainer.inside.features import FeatureMaps, feature_maps
from trainer.inside.kernels import KernelGrid, kernel_grids, layers_without_picture
from trainer.inside.layers import LayerRow, ModelSize, layer_rows, model_size
from trainer.inside.saliency import occlusion, saliency

if TYPE_CHECKING:
    import keras

MOST_SUBJECTS = 10
"""Largest number of images that are looked into: one for each digit."""
_SQUARES = 6
"""Squares of the occlusion along the smaller side of an image: about the width of a stroke."""
_SMALLEST_SQUARE = 2
"""Smallest side of a square of the occlusion, pixels."""
Images = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Function from indices of examples to their images as the model takes them, (images, height, width, channels)."""


@dataclass(frozen=True)
class Subject:
    """An image that is looked into.

    Attributes:
      name: Start of the names of its picture files, such as `class-03`.
      title: Heading.
      story: Sentence about truth, prediction and origin.
      image: Image as the model takes it, (height, width, channels) uint8.
      answer: Predicted number.
      positions: Number of predicted characters, at least 1.
    """

    name: str
    title: str
    story: str
    image: NDArray[np.uint8]
    answer: str
    positions: int


@dataclass(frozen=True)
class Look:
    """What a model does with an image.

    Attributes:
      subject: Image.
      maps: Feature maps of each convolution.
      saliency: Strength of the gradient at each pixel, (height, width) float32, 0..1.
      occlusion: Loss of log-probability where a pixel is covered, (height, width) float32, nats.
      attention: Attention of each predicted position, (positions, height, width) float32, 0..1; None without one.
    """

    subject: Subject
    maps: list[FeatureMaps]
    saliency: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    attention: NDArray[np.float32] | None


@dataclass(frozen=True)
class Evidence:
    """What is shown of a model.

    Attributes:
      layers: Layers in the order of the model.
      size: Number of weights.
      kernels: Kernels of each convolution.
      not_drawn: Names of layers with windows of weights that no picture shows.
      barcodes: Features by class; None if the model has no barcode, or no example has a character.
      square: Side of the square of the occlusion, pixels.
      looks: What the model does with each subject.
    """

    layers: list[LayerRow]
    size: ModelSize
    kernels: list[KernelGrid]
    not_drawn: list[str]
    barcodes: Barcodes | None
    square: int
    looks: list[Look]


def first_of_classes(first: NDArray[np.int64], characters: int, most: int) -> NDArray[np.int64]:
    """Returns the indices of the first examples of each class, ascending.

    Args:
      first: Index of the first character of each example's number, (examples,); others have no character.
      characters: Number of classes.
      most: Largest number of examples of a class.
    """
    chosen = [np.flatnonzero(first == index)[:most] for index in range(characters)]
    return np.sort(np.concatenate(chosen))


def gather(
    model: keras.Model, subjects: list[Subject], first: NDArray[np.int64], alphabet: str, images: Images
) -> Evidence:
    """Returns what an explanation shows of a model. Keras is used here first.

    Args:
      model: Model with weights.
      subjects: Images to look into.
      first: Index of the first character of each example's number, (examples,); the size of the alphabet for none.
      alphabet: Characters of the classes.
      images: Function that reads the images of examples.
    """
    averaged = first_of_classes(first, len(alphabet), MOST_AVERAGED)
    codes = barcodes(model, images(averaged), first[averaged], alphabet) if averaged.size else None
    square = max(_SMALLEST_SQUARE, min(model.input_shape[1:3]) // _SQUARES)
    return Evidence(
        layers=layer_rows(model),
        size=model_size(model),
        kernels=kernel_grids(model),
        not_drawn=layers_without_picture(model),
        barcodes=codes,
        square=square,
        looks=[_look(model, subject, square) for subject in subjects],
    )


def _look(model: keras.Model, subject: Subject, square: int) -> Look:
    image = subject.image
    attention = attention_maps(model, image)
    return Look(
        subject=subject,
        maps=feature_maps(model, image),
        saliency=saliency(model, image),
        occlusion=occlusion(model, image, square),
        attention=None if attention is None else attention[: subject.positions],
    )
