"""A small network for UCI optdigits, images of 8x8 pixels and 17 grey levels, from a public notebook.

A 3x3 convolution of 32 units without padding, one with padding, 2x2 max pooling, one dense layer of 128 units, dropout
of 0.3 and 0.5; Adadelta, batches of 128, 25 epochs. Each pixel is standardised; where it never varies, it keeps its
value less the mean. The notebook reports 97.7 % of the official test part, which it standardised with the test part's
own mean and deviation; here they are those of the training part. It leaves open Adadelta's learning rate (here 1.0, as
for `mnist_cnn`) and the activation of the second convolution (here ReLU).
"""

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import TrainingStandardise, flat_heads


def build_optdigits_cnn(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = TrainingStandardise(by_pixel=True, dtype="float32", name="standardise")(images)
    values = layers.Conv2D(32, 3, activation="relu", name="conv1")(values)
    values = layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2")(values)
    values = layers.MaxPooling2D(2, padding="same", name="pool")(values)
    values = layers.Flatten(name="flatten")(layers.Dropout(0.3, name="dropout1")(values))
    values = layers.Dense(128, activation="relu", name="dense")(values)
    values = layers.Dropout(0.5, name="dropout2")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="optdigits_cnn")
