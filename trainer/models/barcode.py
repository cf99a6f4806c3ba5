"""A network of 18,813 weights for MNIST that turns an image into a barcode of 40 values, from a public notebook.

Convolutions of 20 units 5x5, 20 units 5x5 and 40 units 3x3 without padding, each with leaky ReLU (0.01), the first with
2x2 max pooling; the mean of each of the 40 last maps is the barcode; dense layers of 20 and 10 units; L2 of 1e-4 on the
kernels of the convolutions; Adam with epsilon 1e-4, batches of 256, 80 epochs. The notebook reports 98.89 %, at best
99.05 %, of a fifth of Kaggle's MNIST. It rotates by up to 36 degrees and moves by up to a tenth of the side in layers
of the model; here training does it, with the same ranges (`--rotate 36 --translate 0.1`), so that exports have no
random layers. It leaves open the activation of the dense layer of 20 units (here leaky ReLU).
"""

from typing import Any

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import TrainingStandardise, flat_heads

_SLOPE = 0.01
_L2 = 1e-4


def build_barcode(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = TrainingStandardise(by_pixel=False, dtype="float32", name="standardise")(images)
    values = layers.MaxPooling2D(2, name="pool")(_conv(values, 20, 5, 1))
    values = _conv(_conv(values, 20, 5, 2), 40, 3, 3)
    values = layers.GlobalAveragePooling2D(name="barcode")(values)
    values = layers.LeakyReLU(_SLOPE, name="dense_relu")(layers.Dense(20, name="dense")(values))
    return keras.Model(images, flat_heads(values, labels, reads_length), name="barcode")


def _conv(values: Any, units: int, size: int, index: int) -> Any:
    penalty = keras.regularizers.L2(_L2)
    values = layers.Conv2D(units, size, kernel_regularizer=penalty, name=f"conv{index}")(values)
    return layers.LeakyReLU(_SLOPE, name=f"relu{index}")(values)
