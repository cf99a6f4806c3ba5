"""The table of architectures, and how a model is built from a name and a precision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras

from tfrecords.errors import UserError
from trainer.models.compact import build_compact
from trainer.models.goodfellow import build_goodfellow
from trainer.models.vgg import build_vgg

MODELS: dict[str, Callable[[tuple[int, int, int]], keras.Model]] = {
    "compact": build_compact,
    "goodfellow": build_goodfellow,
    "vgg": build_vgg,
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
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
