"""The table of architectures, and how a model is built from a name and a precision."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tfrecords.errors import UserError

if TYPE_CHECKING:
    import keras


def _build(name: str, image_shape: tuple[int, int, int]) -> keras.Model:
    """Imports an architecture's module, and Keras with it, and returns the model."""
    build: Callable[[tuple[int, int, int]], keras.Model]
    build = getattr(importlib.import_module(f"trainer.models.{name}"), f"build_{name}")
    return build(image_shape)


MODELS: dict[str, Callable[[tuple[int, int, int]], keras.Model]] = {
    name: partial(_build, name) for name in ("compact", "goodfellow", "vgg")
}
"""Architecture name to the function that builds it for an image shape (height, width, channels)."""


def build_model(name: str, image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns an untrained model.

    Args:
      name: Architecture, a key of `MODELS`.
      image_shape: Height, width and channels of the images.

    Raises:
      UserError: No architecture has that name.
    """
    if name not in MODELS:
        raise UserError(f"model must be one of {', '.join(MODELS)}.", name)
    return MODELS[name](image_shape)


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
