"""Layers that several architectures share."""

from typing import Any

import keras
from keras import layers, ops

from tfrecords.record.labels import Labels


@keras.saving.register_keras_serializable("streetdigits")
class Standardise(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Shifts each image to mean 0 and, with `scale`, to standard deviation 1, over all pixels and channels.

    It is part of the model, so that no caller can forget it or normalise differently. Models build it in float32 even
    when their other layers compute in bfloat16, whose eight bits round an image's mean to integer grey values.
    """

    def __init__(self, scale: bool, **options: Any) -> None:
        """Creates the layer.

        Args:
          scale: Whether to divide by the standard deviation; by 255 otherwise.
          **options: Keyword arguments of every Keras layer, such as `name`.
        """
        super().__init__(**options)
        self.scale = scale

    def call(self, images: Any) -> Any:
        """Maps images (batch, height, width, channels), 0..255, to the same shape."""
        centred = images - ops.mean(images, axis=(1, 2, 3), keepdims=True)
        if not self.scale:
            return centred / 255.0
        # Adding one grey value keeps the noise of an even image from being amplified.
        return centred / (ops.std(centred, axis=(1, 2, 3), keepdims=True) + 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the layer."""
        return {**super().get_config(), "scale": self.scale}


def flat_heads(features: Any, labels: Labels) -> dict[str, Any]:
    """Returns the two outputs of a model, each a linear function of (batch, features)."""
    positions, characters = labels.max_length, len(labels.alphabet)
    length = layers.Dense(positions + 2, dtype="float32", name="length_logits")(features)
    digits = layers.Dense(positions * characters, dtype="float32", name="flat_digit_logits")(features)
    digits = layers.Reshape((positions, characters), dtype="float32", name="digit_logits")(digits)
    return {"length_logits": length, "digit_logits": digits}
