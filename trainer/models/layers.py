"""Layers that several architectures share. Pure Keras 3: keras.layers and keras.ops."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("streetdigits")
class Standardise(layers.Layer):
    """Makes each picture's mean 0 and, with `scale`, its standard deviation 1, over all pixels and channels.

    It is part of the model, so that no caller can forget it or do it otherwise. Models give it float32, also where
    the other layers compute in bfloat16, whose eight bits round a picture's mean to whole grey values.
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
