"""The best SVHN network of Goodfellow et al. 2013 (arXiv 1312.6082, section 5.1).

Eight convolutional layers, one locally connected layer and two dense layers, with dropout on every hidden layer.
The paper leaves three choices open. Here, the locally connected layer has 192 units per location and 5x5 windows, as
the layers before it; subtractive normalisation takes the mean over a 3x3 window and all channels (Jarrett et al.
2009, section 2); the dropout rate is 0.5 (section 5.1 gives none).
"""

from typing import Any

import keras
from keras import layers, ops

from tfrecords.record.labels import Labels
from trainer.models.layers import Standardise, flat_heads

_UNITS = (48, 64, 128, 160, 192, 192, 192, 192)
_MAXOUT_PIECES = 3
_DENSE_UNITS = 3072
_DROPOUT = 0.5


@keras.saving.register_keras_serializable("streetdigits")
class Maxout(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Takes the maximum over each group of `pieces` consecutive channels."""

    def __init__(self, pieces: int, **options: Any) -> None:
        """Creates the layer.

        Args:
          pieces: Number of channels per group; it must divide the number of channels.
          **options: Keyword arguments of every Keras layer, such as `name`.
        """
        super().__init__(**options)
        self.pieces = pieces

    def call(self, values: Any) -> Any:
        """Maps (batch, height, width, units * pieces) to (batch, height, width, units)."""
        height, width, channels = values.shape[1:]
        return ops.max(ops.reshape(values, (-1, height, width, channels // self.pieces, self.pieces)), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the layer."""
        return {**super().get_config(), "pieces": self.pieces}


@keras.saving.register_keras_serializable("streetdigits")
class SubtractiveNormalisation(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Subtracts from each value the mean of its 3x3 neighbourhood over all channels; the shape stays the same."""

    def call(self, values: Any) -> Any:
        """Maps (batch, height, width, channels) to the same shape."""
        mean = ops.mean(values, axis=-1, keepdims=True)
        return values - ops.average_pool(mean, 3, strides=1, padding="same", data_format="channels_last")


@keras.saving.register_keras_serializable("streetdigits")
class LocallyConnected(layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A convolution with separate weights at each location, zero-padded to keep height and width."""

    def __init__(self, units: int, window: int, **options: Any) -> None:
        """Creates the layer.

        Args:
          units: Number of output channels.
          window: Height and width of the window, pixels.
          **options: Keyword arguments of every Keras layer, such as `name`.
        """
        super().__init__(**options)
        self.units = units
        self.window = window

    def build(self, shape: tuple[int, ...]) -> None:
        """Creates the weights for inputs of `shape`: (batch, height, width, channels)."""
        _, height, width, channels = shape
        fan_in = self.window * self.window * channels
        # The fan-in of one location; the built-in initialisers would count all locations.
        scale = keras.initializers.RandomNormal(stddev=(2.0 / fan_in) ** 0.5)
        self.kernel = self.add_weight(shape=(height, width, fan_in, self.units), initializer=scale, name="kernel")
        self.bias = self.add_weight(shape=(height, width, self.units), initializer="zeros", name="bias")

    def call(self, values: Any) -> Any:
        """Maps (batch, height, width, channels) to (batch, height, width, units)."""
        _, height, width, _ = values.shape
        before = (self.window - 1) // 2
        margin = (before, self.window - 1 - before)
        padded = ops.pad(values, ((0, 0), margin, margin, (0, 0)))
        # Not ops.image.extract_patches: it convolves with a constant kernel, 92 MB here, which exports would include.
        window = range(self.window)
        patches = ops.concatenate([padded[:, y : y + height, x : x + width] for y in window for x in window], axis=-1)
        return ops.einsum("bhwi,hwio->bhwo", patches, self.kernel) + self.bias

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the output shape for an input shape."""
        return (*shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the layer."""
        return {**super().get_config(), "units": self.units, "window": self.window}


def build_goodfellow(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = Standardise(scale=False, dtype="float32", name="standardise")(images)
    for index, units in enumerate(_UNITS):
        if index == 0:
            values = layers.Conv2D(units * _MAXOUT_PIECES, 5, padding="same", name="conv1")(values)
            values = Maxout(_MAXOUT_PIECES, name="maxout1")(values)
        else:
            values = layers.Conv2D(
                units, 5, padding="same", activation="relu", kernel_initializer="he_normal", name=f"conv{index + 1}"
            )(values)
        stride = 2 if index % 2 == 0 else 1
        values = layers.MaxPooling2D(2, strides=stride, padding="same", name=f"pool{index + 1}")(values)
        values = SubtractiveNormalisation(name=f"normalise{index + 1}")(values)
        values = layers.Dropout(_DROPOUT, name=f"dropout{index + 1}")(values)
    values = layers.ReLU(name="relu9")(LocallyConnected(_UNITS[-1], 5, name="local9")(values))
    values = layers.Flatten(name="flatten")(layers.Dropout(_DROPOUT, name="dropout9")(values))
    for index in (10, 11):
        values = layers.Dense(_DENSE_UNITS, activation="relu", kernel_initializer="he_normal", name=f"dense{index}")(
            values
        )
        values = layers.Dropout(_DROPOUT, name=f"dropout{index}")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="goodfellow")
