"""The architecture that finds the numbers in a picture: our own small network, for one processor core.

A residual network reduces the picture by 32 and a top-down path (feature pyramid networks, Lin et al. 2017, arXiv
1612.03144) adds what it learned there to the map of stride 8. That map has two outputs at each place: whether a number
has its centre there, as in CenterNet (Zhou et al. 2019, arXiv 1904.07850), and the distances to the four edges of its
box, as in FCOS (Tian et al. 2019, arXiv 1904.01355). All layers are convolutions, so that the weights fit pictures of
any size.
"""

import math
from typing import Any

import keras
from keras import layers

from tfrecords.record.labels import Labels
from trainer.models.layers import Rescale, normalised_conv, residual_block

STRIDE = 8
"""Pixels per place of the outputs."""
_STEM = 16
_WIDTHS = (24, 48, 80, 96)
"""Channels of the maps of stride 4, 8, 16 and 32."""
_CONTEXTS = 2
"""Blocks at stride 32 whose places see most of a picture, as the widest numbers need."""
_CONTEXT_SIZE = 5
_PYRAMID = 64
"""Channels of the top-down path."""
_RARE = 0.01
"""Probability of a centre that an untrained model predicts: one place in a hundred or fewer has one (Lin et al. 2017,
arXiv 1708.02002, section 4.1)."""
_DISTANCE = 4.0
"""Distance to the edges that an untrained model predicts, places."""


def build_finder(image_shape: tuple[int, int, int], labels: Labels, reads_length: bool) -> keras.Model:
    """Returns the untrained model: see `trainer.models.build_model`. It does not depend on the labels.

    Its outputs are `heat_logits` (batch, rows, columns, 1), and `distance_logits` (batch, rows, columns, 4): logarithms
    of the distances from the middle of the place up, left, down and right to the edges of the box, in places.
    """
    images = keras.Input(image_shape, name="image")
    # No mean is subtracted: 0, which is around the picture, is what convolutions see beyond the image too.
    values = Rescale(dtype="float32", name="rescale")(images)
    values = layers.ReLU(name="stem_relu")(normalised_conv(values, _STEM, "stem", stride=(2, 2)))
    maps = []
    for stage, units in enumerate(_WIDTHS[:-1], start=1):
        values = normalised_conv(values, units, f"stage{stage}_down", stride=(2, 2))
        values = layers.ReLU(name=f"stage{stage}_down_relu")(values)
        values = residual_block(values, units, (1, 1), f"stage{stage}_block")
        maps.append(values)
    values = layers.ReLU(name="top_relu")(normalised_conv(values, _WIDTHS[-1], "top", stride=(2, 2)))
    for block in range(1, _CONTEXTS + 1):
        values = _context_block(values, f"context{block}")
    values = normalised_conv(values, _PYRAMID, "top_lateral", size=1)
    for name, lower in (("middle", maps[2]), ("fine", maps[1])):
        values = _add_upsampled(values, lower, name)
    values = layers.ReLU(name="fine_relu")(values)
    values = residual_block(values, _PYRAMID, (1, 1), "head_block")
    return keras.Model(images, _heads(values), name="finder")


def _context_block(values: Any, name: str) -> Any:
    """Returns a map with a wide depthwise convolution of it added, at a small part of the weights of a full one."""
    wide = layers.DepthwiseConv2D(_CONTEXT_SIZE, padding="same", use_bias=False, name=f"{name}_depthwise")(values)
    wide = layers.ReLU(name=f"{name}_relu1")(layers.BatchNormalization(momentum=0.9, name=f"{name}_wide_norm")(wide))
    wide = normalised_conv(wide, values.shape[-1], f"{name}_mix", size=1)
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([values, wide]))


def _add_upsampled(values: Any, lower: Any, name: str) -> Any:
    """Returns a map of twice the size, with a projection of the map of that size added."""
    values = layers.UpSampling2D(2, name=f"{name}_up")(values)
    # Odd sides were rounded up where they were halved.
    surplus = [(0, values.shape[axis] - lower.shape[axis]) for axis in (1, 2)]
    if any(after for _, after in surplus):
        values = layers.Cropping2D(surplus, name=f"{name}_crop")(values)
    lateral = normalised_conv(lower, _PYRAMID, f"{name}_lateral", size=1)
    return layers.Add(name=f"{name}_add")([values, lateral])


def _heads(values: Any) -> dict[str, Any]:
    """Returns the outputs, each a linear function of the last map."""
    outputs = {}
    for name, units, start in (
        ("heat_logits", 1, -math.log((1 - _RARE) / _RARE)),
        ("distance_logits", 4, math.log(_DISTANCE)),
    ):
        outputs[name] = layers.Conv2D(
            units,
            1,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=keras.initializers.Constant(start),
            dtype="float32",
            name=name,
        )(values)
    return outputs
