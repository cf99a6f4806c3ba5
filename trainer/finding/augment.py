"""Augmentation of pictures with boxes, on the device: the warp and the colours of `trainer.input.augment`.

Boxes follow the pixels, and around the picture stays 0. Nothing is flipped: numbers are not read from right to left.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from trainer.input.augment import recolour, warp_steps
from trainer.run.config import AugmentConfig

_WARP_UNIFORMS = 6
"""Random values of the warp: position (2), zoom, stretch, rotation, shear."""
_LEAST_VISIBLE = 0.7
"""Share of a number's box that must be in the image; of a number cut off further, the rest counts as nothing."""
_LEAST_SIDE = 6.0
"""Smallest height and width of a number to find, pixels."""

Tensor = Any
"""Tensor of TensorFlow."""


class Pictures(NamedTuple):
    """Images with the boxes of their numbers.

    Attributes:
      images: (batch, height, width, channels) float32, about 0..255 but not clipped; 0 around the picture.
      boxes: ymin, xmin, ymax, xmax in pixels of the image, clipped to it: (batch, most, 4) float32.
      is_number: Whether a box is of a number to find: (batch, most) boolean.
      is_ignored: Whether a box is of a number that is too small or cut off: (batch, most) boolean.
    """

    images: Tensor
    boxes: Tensor
    is_number: Tensor
    is_ignored: Tensor


def augment_pictures(batch: dict[str, Tensor], size: tuple[int, int], config: AugmentConfig) -> Pictures:
    """Returns pictures shifted, zoomed, stretched, rotated, sheared and recoloured, each in its own way.

    Args:
      batch: Batch of `trainer.input.dataset.training_dataset` of scenes.
      size: Height and width of the images that the model takes, pixels.
      config: Strength of each change.
    """
    uniform = batch["uniform"]
    warp = make_warp(uniform[:, :_WARP_UNIFORMS], batch["content"], config)
    images = _warped(batch["image"], size, warp)
    images = recolour(images, config, uniform[:, _WARP_UNIFORMS:])
    images = images * _is_content(batch["content"], size, warp)[..., None]
    moved = move_boxes(batch["boxes"], warp)
    return _visible(images, moved, batch["length"], size)


def plain_pictures(batch: dict[str, Tensor], size: tuple[int, int]) -> Pictures:
    """Returns pictures as they are, for validation: see `augment_pictures`."""
    return _visible(tf.cast(batch["image"], tf.float32), batch["boxes"], batch["length"], size)


def make_warp(uniform: Tensor, content: Tensor, config: AugmentConfig) -> Tensor:
    """Returns the affine transforms from pixels of the changed images to those of the given ones: (batch, 6) float32.

    Pictures are changed about their own centre, and shifted by shares of their own sides: many are in a small part of
    the image, and would leave it otherwise. The transforms are a0..a5 of x' = a0 x + a1 y + a2, y' = a3 x + a4 y + a5,
    in pixels counted from the middle of the first one.

    Args:
      uniform: Random values, (batch, 6) float32, 0 to below 1; 0.5 is no change.
      content: Height and width of the picture in the image's upper left corner, pixels: (batch, 2) int64.
      config: Strength of each change.
    """
    height, width = tf.unstack(tf.cast(content, tf.float32), 2, axis=1)
    y, x = tf.unstack(2 * uniform[:, :2] - 1, 2, axis=1)
    right_x, right_y, down_x, down_y = warp_steps(uniform[:, 2:], config)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    origin_x = middle_x + x * config.translate * width - (middle_x * right_x + middle_y * down_x)
    origin_y = middle_y + y * config.translate * height - (middle_x * right_y + middle_y * down_y)
    return tf.stack([right_x, down_x, origin_x, right_y, down_y, origin_y], axis=1)


def move_boxes(boxes: Tensor, warp: Tensor) -> Tensor:
    """Returns the smallest upright boxes around boxes of the given images, in the changed ones.

    Args:
      boxes: ymin, xmin, ymax, xmax in pixels of the given images: (batch, most, 4) float32.
      warp: Transforms of `make_warp`.
    """
    right_x, down_x, origin_x, right_y, down_y, origin_y = (part[:, None, None] for part in tf.unstack(warp, 6, axis=1))
    corners_y = tf.stack([boxes[..., edge] for edge in (0, 0, 2, 2)], axis=-1) - 0.5 - origin_y
    corners_x = tf.stack([boxes[..., edge] for edge in (1, 3, 1, 3)], axis=-1) - 0.5 - origin_x
    area = right_x * down_y - down_x * right_y
    x = (down_y * corners_x - down_x * corners_y) / area + 0.5
    y = (right_x * corners_y - right_y * corners_x) / area + 0.5
    edges = (tf.reduce_min(y, -1), tf.reduce_min(x, -1), tf.reduce_max(y, -1), tf.reduce_max(x, -1))
    return tf.stack(edges, axis=-1)


def _warped(images: Tensor, size: tuple[int, int], warp: Tensor) -> Tensor:
    """Returns the changed images, float32; beyond the given ones they are 0."""
    zeros = tf.zeros_like(warp[:, :2])
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.concat([warp, zeros], axis=1),
        output_shape=list(size),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(warped, (None, *size, images.shape[-1]))


def _is_content(content: Tensor, size: tuple[int, int], warp: Tensor) -> Tensor:
    """Returns 1 where a changed image shows the picture and 0 around it: (batch, height, width) float32.

    Args:
      content: Height and width of the picture in the given image's upper left corner, pixels: (batch, 2) int64.
      size: Height and width of the images, pixels.
      warp: Transforms of `make_warp`.
    """
    y, x = tf.range(float(size[0]))[None, :, None], tf.range(float(size[1]))[None, None, :]
    right_x, down_x, origin_x, right_y, down_y, origin_y = (part[:, None, None] for part in tf.unstack(warp, 6, axis=1))
    given_x, given_y = right_x * x + down_x * y + origin_x, right_y * x + down_y * y + origin_y
    height, width = (tf.cast(content[:, axis], tf.float32)[:, None, None] for axis in (0, 1))
    inside = (given_x > -0.5) & (given_x < width - 0.5) & (given_y > -0.5) & (given_y < height - 0.5)
    return tf.cast(inside, tf.float32)


def _visible(images: Tensor, boxes: Tensor, length: Tensor, size: tuple[int, int]) -> Pictures:
    """Returns images with the parts of boxes that are in them; `length` (batch,) boxes are of numbers."""
    clipped = tf.clip_by_value(boxes, 0.0, tf.constant([*size, *size], tf.float32))
    sides = clipped[..., 2:] - clipped[..., :2]
    before = boxes[..., 2:] - boxes[..., :2]
    share = tf.reduce_prod(sides, -1) / tf.maximum(tf.reduce_prod(before, -1), 1e-6)
    is_there = tf.range(boxes.shape[1], dtype=length.dtype) < length[:, None]
    is_number = is_there & (share >= _LEAST_VISIBLE) & tf.reduce_all(sides >= _LEAST_SIDE, -1)
    return Pictures(images, clipped, is_number, is_there & ~is_number)
