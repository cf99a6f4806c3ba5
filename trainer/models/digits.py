"""Our network for pictures of one character: residual, 166,618 weights, small enough to be part of the package.

The first convolution keeps the full resolution, since the strokes of a 28x28 digit are two or three pixels wide. Four
residual blocks follow, two at a half and two at a quarter of the side. The classifier reads the means of the last maps,
which do not depend on the exact place of a digit. A side below 16 pixels is not halved.

Trained with its recipe on 35,985 digits of MNIST, it read 99.67 % of the 10,000 test digits (mean of three seeds) after
40 epochs and 15.5 minutes of processor time.
"""

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import Standardise, flat_heads, halving_strides, normalised_conv, residual_block

_STEM = 16
_WIDTHS = (32, 64)
_BLOCKS = 2


def build_digits(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    halved = halving_strides(image_shape)
    images = keras.Input(image_shape, name="image")
    values = Standardise(scale=True, dtype="float32", name="standardise")(images)
    values = layers.ReLU(name="stem_relu")(normalised_conv(values, _STEM, "stem"))
    for stage, units in enumerate(_WIDTHS, start=1):
        for block in range(1, _BLOCKS + 1):
            stride = halved if block == 1 else (1, 1)
            values = residual_block(values, units, stride, f"stage{stage}_block{block}")
    values = layers.GlobalAveragePooling2D(name="pooled")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="digits")
