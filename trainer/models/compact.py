"""Our own small residual network, the default: for two cores and a few thousand pictures.

The picture is halved at once, since a digit's strokes are several pixels wide at
54x54; then three stages of residual blocks halve it further. The head keeps where
things are (it flattens instead of averaging): the places of digits are the answer's order.
"""

from typing import Any

import keras
from keras import layers

from trainer.models.layers import Standardise, number_heads

_WIDTHS = (32, 64, 128)
_BLOCKS = 1
_HEAD_UNITS = 256
_DROPOUT = 0.3


def _conv(values: Any, units: int, name: str, size: int = 3, stride: int = 1) -> Any:
    values = layers.Conv2D(
        units,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(values)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(values)


def _block(values: Any, units: int, stride: int, name: str) -> Any:
    short = values
    if stride != 1 or values.shape[-1] != units:
        short = _conv(values, units, f"{name}_short", size=1, stride=stride)
    values = layers.ReLU(name=f"{name}_relu1")(_conv(values, units, f"{name}_1", stride=stride))
    values = _conv(values, units, f"{name}_2")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([values, short]))


def build(image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns the untrained model for pictures of `image_shape` (height, width, channels), 0..255."""
    images = keras.Input(image_shape, name="image")
    values = Standardise(scale=True, name="standardise")(images)
    values = layers.ReLU(name="stem_relu")(_conv(values, _WIDTHS[0], "stem", size=5, stride=2))
    for stage, units in enumerate(_WIDTHS):
        for block in range(_BLOCKS + 1):
            stride = 2 if block == 0 and stage > 0 else 1
            values = _block(values, units, stride, f"stage{stage + 1}_block{block + 1}")
    values = layers.Flatten(name="flatten")(values)
    values = layers.Dropout(_DROPOUT, name="dropout1")(values)
    values = layers.Dense(_HEAD_UNITS, activation="relu", kernel_initializer="he_normal", name="dense")(values)
    values = layers.Dropout(_DROPOUT, name="dropout2")(values)
    return keras.Model(images, number_heads(values), name="compact")
