"""The network of potterhsu/SVHNClassifier, a public SVHN classifier, built from its description.

It follows model.py of https://github.com/potterhsu/SVHNClassifier: four blocks of two 5x5 convolutions, each with
batch normalisation, ReLU, 2x2 max pooling (strides 2 and 1 in turn) and dropout of 0.2; then two dense layers of 3,072
units, and one classifier for the length and one per digit position. Two things differ. The original has 11 classes per
position, the last one for "no digit"; here there are 10, since the length says where the number ends. The original
scales pixels to -1..1; here `Standardise` normalises them, as in our other models.
"""

from typing import Any

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import Standardise, flat_heads

_UNITS = (48, 64, 128, 160, 192, 192, 192, 192)
_DENSE_UNITS = 3072
_DROPOUT = 0.2


def build_vgg(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = Standardise(scale=True, dtype="float32", name="standardise")(images)
    for index, units in enumerate(_UNITS, start=1):
        values = _layer(values, units, 2 if index % 2 else 1, index)
    values = layers.Flatten(name="flatten")(values)
    for index in (9, 10):
        values = layers.Dense(_DENSE_UNITS, activation="relu", kernel_initializer="he_normal", name=f"dense{index}")(
            values
        )
    return keras.Model(images, flat_heads(values, labels, reads_length), name="vgg")


def _layer(values: Any, units: int, stride: int, index: int) -> Any:
    """Returns the output of one hidden layer; without a convolution bias, which normalisation would cancel."""
    values = layers.Conv2D(
        units, 5, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"conv{index}"
    )(values)
    # The momentum of `compact`, for the same reason: training has only a few thousand steps.
    values = layers.BatchNormalization(momentum=0.9, name=f"norm{index}")(values)
    values = layers.ReLU(name=f"relu{index}")(values)
    values = layers.MaxPooling2D(2, strides=stride, padding="same", name=f"pool{index}")(values)
    return layers.Dropout(_DROPOUT, name=f"dropout{index}")(values)
