"""What layers of a model put out for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError

if TYPE_CHECKING:
    import keras

BATCH = 64
"""Images per call of a model."""


def check_images(model: keras.Model, images: NDArray[np.uint8]) -> None:
    """Checks that images are those of a model.

    Args:
      model: Model with one input.
      images: Images, (images, height, width, channels) uint8.

    Raises:
      UserError: They have another shape or type.
    """
    expected = model.input_shape[1:]
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        shape = " x ".join(map(str, expected))
        raise UserError(f"{model.name} takes uint8 images of {shape}.", f"{images.dtype}, {images.shape[1:]}")


def layer_outputs(
    model: keras.Model, names: Sequence[str], images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Returns the outputs of layers, as in prediction: without dropout and augmentation.

    Args:
      model: Model with one input.
      names: Names of layers with one output, at least one.
      images: Images, (images, height, width, channels) uint8, at least one.

    Returns:
      Name of the layer to its output, (images, ...) float32.

    Raises:
      UserError: The images are not those of the model.
    """
    import keras

    check_images(model, images)
    # Not traced: tracing takes longer than the few images that pictures of a network are made of.
    part = keras.Model(model.input, [model.get_layer(name).output for name in names])
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    found = [keras.tree.flatten(part(batch.astype(np.float32), training=False)) for batch in batches]
    arrays = [[keras.ops.convert_to_numpy(one).astype(np.float32) for one in each] for each in found]
    return {name: np.concatenate([each[index] for each in arrays]) for index, name in enumerate(names)}
