"""The network of Keras's first MNIST example, `mnist_cnn.py`, as a public notebook trained it.

Two 3x3 convolutions of 32 units without padding, 2x2 max pooling, one dense layer of 128 units, dropout of 0.25 and
0.5; pixels divided by 255; Adadelta, batches of 128. The notebook reports 97.23 % of MNIST's 10,000 test digits after
one epoch of 60,000. It leaves open Adadelta's learning rate: Keras's default was 1.0 then, and is 0.001 now, with which
the network hardly learns. Here it is 1.0 (`trainer.run.recipes`).
"""

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import flat_heads


def build_mnist_cnn(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = layers.Rescaling(1 / 255, dtype="float32", name="rescale")(images)
    values = layers.Conv2D(32, 3, activation="relu", name="conv1")(values)
    values = layers.Conv2D(32, 3, activation="relu", name="conv2")(values)
    values = layers.MaxPooling2D(2, name="pool")(values)
    values = layers.Flatten(name="flatten")(layers.Dropout(0.25, name="dropout1")(values))
    values = layers.Dense(128, activation="relu", name="dense")(values)
    values = layers.Dropout(0.5, name="dropout2")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="mnist_cnn")
