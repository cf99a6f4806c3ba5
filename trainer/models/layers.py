"""Layers that several architectures share."""

from typing import Any

import keras
from keras import layers, ops

from tfrecords.record.labels import Labels

_HALVED_SIDE = 16
"""Smallest height or width of images, pixels, that layers halve."""


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


@keras.saving.register_keras_serializable("streetdigits")
class Rescale(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Divides by 255: `keras.layers.Rescaling` needs TensorFlow on every backend (3.15)."""

    def call(self, images: Any) -> Any:
        """Maps images (batch, height, width, channels), 0..255, to the same shape, 0..1."""
        return images / 255.0


@keras.saving.register_keras_serializable("streetdigits")
class TrainingStandardise(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Subtracts the training split's mean and divides by its standard deviation: the same values for each image.

    Training measures both before its first step (`trainer.fit.statistics`); they are weights, so that every saved model
    and export has them. Where the deviation is 0, values are not divided. `keras.layers.Normalization` does not fit: it
    keeps the values as constants of the traced graph, which a restored checkpoint does not change, and it divides by
    1e-7 where a pixel of the training split never varies.
    """

    def __init__(self, by_pixel: bool, **options: Any) -> None:
        """Creates the layer.

        Args:
          by_pixel: Whether each pixel and channel has its own mean and deviation; one for all otherwise.
          **options: Keyword arguments of every Keras layer, such as `name`.
        """
        super().__init__(**options)
        self.by_pixel = by_pixel

    def build(self, shape: tuple[int, ...]) -> None:
        """Creates the weights for images of `shape`: (batch, height, width, channels)."""
        each = tuple(shape[1:]) if self.by_pixel else ()
        self.mean = self.add_weight(shape=each, initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(shape=each, initializer="ones", trainable=False, name="deviation")
        # 0: not measured yet.
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, dtype="int32", name="count")

    def call(self, images: Any) -> Any:
        """Maps images (batch, height, width, channels), 0..255, to the same shape."""
        return (images - self.mean) / self.deviation

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the layer."""
        return {**super().get_config(), "by_pixel": self.by_pixel}


def flat_heads(features: Any, labels: Labels, reads_length: bool) -> dict[str, Any]:
    """Returns the outputs of a model, each a linear function of (batch, features).

    Args:
      features: (batch, features) tensor.
      labels: Numbers to predict.
      reads_length: Whether there is an output for the length.
    """
    positions, characters = labels.max_length, len(labels.alphabet)
    outputs = {}
    if reads_length:
        outputs["length_logits"] = layers.Dense(positions + 2, dtype="float32", name="length_logits")(features)
    digits = layers.Dense(positions * characters, dtype="float32", name="flat_digit_logits")(features)
    outputs["digit_logits"] = layers.Reshape((positions, characters), dtype="float32", name="digit_logits")(digits)
    return outputs


def halving_strides(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Returns the strides, vertical and horizontal, of the layers that halve a feature map: 1 for small sides.

    Reduced by 8, a side below 16 pixels would be one location, and the strokes of its digits are one pixel wide.

    Args:
      image_shape: Height, width and channels of the images.
    """
    height, width, _ = image_shape
    return 2 if height >= _HALVED_SIDE else 1, 2 if width >= _HALVED_SIDE else 1


def normalised_conv(values: Any, units: int, name: str, size: int = 3, stride: tuple[int, int] = (1, 1)) -> Any:
    """Returns a convolution of (batch, height, width, channels), followed by batch normalisation.

    Args:
      values: Feature map.
      units: Number of output channels.
      name: Prefix of the layers' names.
      size: Height and width of the kernel, pixels.
      stride: Vertical and horizontal stride, pixels.
    """
    values = layers.Conv2D(
        units,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(values)
    # Averages over about the last ten steps, since training has only a few thousand.
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(values)


def residual_block(values: Any, units: int, stride: tuple[int, int], name: str) -> Any:
    """Returns two 3x3 convolutions of a feature map, added to it or, where the shape changes, to a 1x1 convolution.

    Args:
      values: Feature map, (batch, height, width, channels).
      units: Number of output channels.
      stride: Vertical and horizontal stride of the first convolution, pixels.
      name: Prefix of the layers' names.
    """
    short = values
    if stride != (1, 1) or values.shape[-1] != units:
        short = normalised_conv(values, units, f"{name}_short", size=1, stride=stride)
    values = layers.ReLU(name=f"{name}_relu1")(normalised_conv(values, units, f"{name}_1", stride=stride))
    values = normalised_conv(values, units, f"{name}_2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([values, short]))
