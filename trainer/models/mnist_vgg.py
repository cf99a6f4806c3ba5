"""A small network in the manner of VGG for MNIST, from a public notebook.

Two blocks of two padded 3x3 convolutions, of 32 and 64 units, each block with 2x2 max pooling; one dense layer of 512
units; SGD, batches of 32, 3 epochs. The notebook reports "98 %, almost 99" of MNIST's test digits. It divided by the
mean where it meant the standard deviation; here images are standardised with the training split's true mean and
deviation. It leaves open SGD's learning rate and momentum (`trainer.run.recipes` has ours).
"""

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import TrainingStandardise, flat_heads


def build_mnist_vgg(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`."""
    images = keras.Input(image_shape, name="image")
    values = TrainingStandardise(by_pixel=False, dtype="float32", name="standardise")(images)
    for block, units in enumerate((32, 64), start=1):
        for index in (1, 2):
            values = layers.Conv2D(units, 3, padding="same", activation="relu", name=f"conv{block}_{index}")(values)
        values = layers.MaxPooling2D(2, name=f"pool{block}")(values)
    values = layers.Flatten(name="flatten")(values)
    values = layers.Dense(512, activation="relu", name="dense")(values)
    return keras.Model(images, flat_heads(values, labels, reads_length), name="mnist_vgg")
