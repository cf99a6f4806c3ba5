"""Layers that several architectures share. Pure Keras 3: keras.layers and keras.ops."""

from typing import Any

import keras
from keras import layers, ops

from trainer.losses import DIGIT_CLASSES, LENGTH_CLASSES, MAX_LENGTH


@keras.saving.register_keras_serializable("streetdigits")
class Standardise(layers.Layer):
    """Makes each picture's mean 0 and, with `scale`, its standard deviation 1, over all pixels and channels.

    It is part of the model, so that no caller can forget it or do it otherwise.
    """

    def __init__(self, scale: bool, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def call(self, images: Any) -> Any:
        """(batch, height, width, channels) 0..255 to the same shape."""
        centred = images - ops.mean(images, axis=(1, 2, 3), keepdims=True)
        if not self.scale:
            return centred / 255.0
        # One grey value of noise keeps an even picture from being blown up to noise.
        return centred / (ops.std(centred, axis=(1, 2, 3), keepdims=True) + 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def number_heads(features: Any) -> dict[str, Any]:
    """Returns the model's two outputs from (batch, features): unnormalised log-probabilities in float32.

    `length_logits` is (batch, 7), `digit_logits` (batch, 5, 10).
    """
    length = layers.Dense(LENGTH_CLASSES, dtype="float32", name="length_logits")(features)
    digits = layers.Dense(MAX_LENGTH * DIGIT_CLASSES, dtype="float32", name="flat_digit_logits")(features)
    digits = layers.Reshape((MAX_LENGTH, DIGIT_CLASSES), dtype="float32", name="digit_logits")(digits)
    return {"length_logits": length, "digit_logits": digits}
