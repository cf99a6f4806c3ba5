"""A small smooth network with each kind of convolution, dropout and noise, for tests of what is inside networks."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from keras import layers

SHAPE = (12, 10, 3)
"""Height, width and channels of its images."""


def heads(values: keras.KerasTensor, length: bool = True) -> dict[str, keras.KerasTensor]:
    """Returns the outputs of a model of numbers of up to three of four characters, or of one."""
    digits = layers.Reshape((3 if length else 1, 4), name="digit_logits")(layers.Dense(12 if length else 4)(values))
    return {
        "digit_logits": digits,
        **({"length_logits": layers.Dense(5, name="length_logits")(values)} if length else {}),
    }


def small(length: bool = True) -> keras.Model:
    """Returns the network, always with the same weights; `length`: whether it has the output for the length."""
    keras.utils.set_random_seed(1)
    images = keras.Input(SHAPE, name="image")
    values = layers.GaussianNoise(0.5, name="noise")(layers.Rescaling(1 / 255, name="rescale")(images))
    values = layers.Conv2D(4, 3, strides=2, activation="tanh", name="first")(values)
    values = layers.DepthwiseConv2D(2, depth_multiplier=2, padding="same", use_bias=False, name="deep")(values)
    values = layers.Dropout(0.5, name="drop")(values)
    values = layers.SeparableConv2D(6, (1, 2), activation="tanh", name="apart")(values)
    values = layers.Conv2DTranspose(5, 2, strides=2, activation="tanh", name="back")(values)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(values)
    return keras.Model(images, heads(pooled, length), name="small")
