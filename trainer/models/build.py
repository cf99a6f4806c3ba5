"""The table of architectures, and how a model is built from a name and a precision."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tfrecords.errors import UserError
from tfrecords.record.labels import Labels

if TYPE_CHECKING:
    import keras


_DIGITS = Labels()

Shape = tuple[int, int, int]
"""Height, width and channels of images."""


def _build(name: str, image_shape: Shape, labels: Labels, reads_length: bool) -> keras.Model:
    """Imports an architecture's module, and Keras with it, and returns the model."""
    build: Callable[[Shape, Labels, bool], keras.Model]
    build = getattr(importlib.import_module(f"trainer.models.{name}"), f"build_{name}")
    return build(image_shape, labels, reads_length)


_SMALLEST = {
    "barcode": 18,
    "barcode_residual": 4,
    "compact": 8,
    "conv2": 6,
    "digits": 4,
    "finder": 32,
    "goodfellow": 16,
    "mnist_cnn": 6,
    "mnist_vgg": 4,
    "optdigits_cnn": 4,
    "vgg": 16,
}
"""Smallest height and width of the images of an architecture, pixels. Four layers of `goodfellow` and `vgg` halve the
image, so that 16 pixels become one; convolutions without padding need some pixels left."""

FINDERS: dict[str, Callable[[Shape, Labels, bool], keras.Model]] = {"finder": partial(_build, "finder")}
"""Architectures that find the numbers in a picture, as `MODELS`. They depend on the image shape alone."""
MODELS: dict[str, Callable[[Shape, Labels, bool], keras.Model]] = {
    name: partial(_build, name) for name in _SMALLEST if name not in FINDERS
}
"""Architectures that read the number in an image: name to the function that builds it for an image shape (height,
width, channels), labels, and whether the model reads the length."""


def build_model(
    name: str, image_shape: Shape, labels: Labels = _DIGITS, reads_length: bool | None = None
) -> keras.Model:
    """Returns an untrained model.

    Args:
      name: Architecture, a key of `MODELS` or `FINDERS`.
      image_shape: Height, width and channels of the images.
      labels: Numbers to predict; the default is those of SVHN.
      reads_length: Whether the model has the output `length_logits`; None: unless the longest number is one character.

    Raises:
      UserError: No architecture has that name, or the images are too small for it.
    """
    check_model(name, image_shape)
    build = MODELS.get(name) or FINDERS[name]
    return build(image_shape, labels, labels.max_length > 1 if reads_length is None else reads_length)


def check_model(name: str, image_shape: Shape) -> None:
    """Checks that `build_model` can build an architecture for images of a shape, without importing Keras.

    Raises:
      UserError: No architecture has that name, or the images are too small for it.
    """
    if name not in MODELS and name not in FINDERS:
        raise UserError(f"model must be one of {', '.join([*MODELS, *FINDERS])}.", name)
    height, width, _ = image_shape
    if min(height, width) < (least := _SMALLEST.get(name, 1)):
        raise UserError(f"{name} needs images of at least {least} x {least} pixels.", f"{height} x {width}")


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Sets the precision that layers built in the block compute in.

    Weights are always float32, and so are the outputs of our models, whose last layers set it explicitly. Saved
    weights therefore fit a model that is built without this.

    Args:
      precision: One of `trainer.run.config.PRECISIONS`.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
