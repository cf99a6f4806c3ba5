"""The two-convolution network of the SVHN notebook that this project began from.

Two 3x3 convolutions of 32 units without padding, 2x2 max pooling, dropout of 0.5, one dense layer of 1,024 units, and
a head for the length and for each position: seven for numbers of up to six digits, six for up to five. SGD with a
learning rate of 0.01, decay 1e-6 and Nesterov momentum 0.9, batches of 200. The notebook reached 92 % of first
digits, 84 % of second ones and 0 % of whole numbers, for reasons that tests name (tests/test_notebook_traps.py). It
leaves open how pixels are normalised: here each image has mean 0 and deviation 1, as in `compact`.
"""

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import Standardise, flat_heads


def build_conv2(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = Standardise(scale=True, dtype="float32", name="standardise")(images)
    values = layers.Conv2D(32, 3, activation="relu", name="conv1")(values)
    values = layers.Conv2D(32, 3, activation="relu", name="conv2")(values)
    values = layers.MaxPooling2D(2, name="pool")(values)
    values = layers.Flatten(name="flatten")(layers.Dropout(0.5, name="dropout")(values))
    values = layers.Dense(1024, activation="relu", name="dense")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="conv2")
