"""Encoded pictures to pixels inside a SavedModel: `tfrecords.images` in TensorFlow.

TensorFlow decodes the pixels. What it leaves out is done here by the same rules: pictures are turned as their EXIF data
say, and transparent ones are composed on a background.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrecords.images.orientation import (
    COLUMNS_REVERSED,
    EXIF_MARK,
    HEAD_BYTES,
    MAX_STEPS,
    ROWS_REVERSED,
    TAG,
    TRANSPOSED,
)
from tfrecords.images.transparency import LUMA

_Step = tuple[tf.Tensor, tf.Tensor]
"""Bytes to the next segment or chunk and to its EXIF data, as in `tfrecords.images.orientation`."""
_0, _1, _4, _8 = map(np.int64, (0, 1, 4, 8))
_WEIGHTS = (1, 1 << 8, 1 << 16, 1 << 24)
_BMP_MASKS, _BMP_OPACITY = b"\0\0\xff\0\0\xff\0\0\xff\0\0\0", b"\0\0\0\xff"
"""Masks of red, green and blue, and of opacity, for the order of bytes that TensorFlow reads in a BMP: blue, green,
red, opacity (BITMAPV4HEADER)."""
_GIF_CONTROL = b"\x21\xf9\x04"
"""First bytes of the block that states whether the next frame has a transparent colour (GIF89a, section 23)."""


def _decode(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of one picture in RGB, as viewers show it: (height, width, 3) uint8.

    JPEG needs the accurate inverse DCT, which Pillow uses: by TensorFlow's default, grey values differ by up to 15.

    Args:
      data: Scalar string, the content of a JPEG, PNG, WebP, GIF or BMP file. TensorFlow names these formats in its
        error for any other.
    """
    content = tf.io.decode_raw(data, tf.uint8)

    def jpeg() -> tf.Tensor:
        pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return _turn(pixels, _read_orientation(content, 2, _jpeg_step))

    def png() -> tf.Tensor:
        return _turn(_decode_png(data, content), _read_orientation(content, 8, _png_step))

    def webp() -> tf.Tensor:
        # Any other number of channels than the file's is an error. Not decode_webp, which older servers lack.
        pixels = _compose(tf.io.decode_image(data, channels=0, expand_animations=False))
        return _turn(pixels, _read_orientation(content, 12, _webp_step))

    kinds = (
        (b"\xff\xd8", jpeg),
        (b"\x89PNG", png),
        (b"RIFF", webp),
        (b"BM", lambda: _decode_bmp(data, content)),
        (b"GIF8", lambda: _decode_gif(data, content)),
    )
    cases = [(tf.equal(tf.strings.substr(data, 0, len(start)), start), decode) for start, decode in kinds]
    pixels = tf.case(cases, lambda: tf.io.decode_image(data, channels=3, expand_animations=False))
    return tf.ensure_shape(pixels, (None, None, 3))


# Traced once for both signatures of a SavedModel, and for the comparison with `predict`.
decode_picture: Callable[[tf.Tensor], tf.Tensor] = tf.function(
    _decode, autograph=False, input_signature=[tf.TensorSpec((), tf.string, name="data")]
)
"""Function of the content of one file that returns its pixels: see `_decode`."""


def _decode_png(data: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of a PNG. TensorFlow gives pictures of 1, 2 or 4 bits without opacity a wrong one."""

    def is_transparent() -> tf.Tensor:
        start, _ = _find(content, 8, functools.partial(_png_step, wanted=b"tRNS"))
        return start > 0

    depth = _number(content, 24, 1)
    return tf.cond(
        tf.cond(depth < 8, is_transparent, lambda: tf.constant(True)),
        lambda: _compose(tf.io.decode_png(data, channels=4)),
        lambda: tf.io.decode_png(data, channels=3),
    )


def _decode_bmp(data: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of a BMP. TensorFlow takes the indices of a palette for grey values, and no heed of masks."""
    colours_end, header = _number(content, 10, 4), _number(content, 14, 4)
    bits, compression = _number(content, 28, 2), _number(content, 30, 4)
    has_masks = compression == 3
    has_opacity = has_masks & (header >= 56) & _equal(content[66:70], _BMP_OPACITY)
    is_usual = has_opacity | (header < 56) | _equal(content[66:70], bytes(4))
    checks = [
        tf.debugging.Assert((compression == 0) | has_masks, ["A BMP must not be compressed."]),
        tf.debugging.Assert(
            ~has_masks | (_equal(content[54:66], _BMP_MASKS) & is_usual),
            ["The bytes of a BMP's pixels must be blue, green, red and opacity."],
        ),
    ]
    with tf.control_dependencies(checks):
        palette = content[14 + header : colours_end]
    palette = tf.reshape(palette[: tf.size(palette) // 4 * 4], (-1, 4))  # blue, green, red, nothing
    palette = tf.gather(palette, (2, 1, 0), axis=1)
    pixels = tf.io.decode_bmp(data)
    return tf.cond(
        bits == 8,
        lambda: tf.gather(palette, tf.cast(pixels[..., 0], tf.int32)),
        lambda: tf.cond(has_opacity, lambda: _compose(pixels), lambda: pixels[..., :3]),
    )


def _decode_gif(data: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Returns the first frame of a GIF. TensorFlow makes transparent pixels black, so black ones may be either."""
    starts = tf.where(
        tf.reduce_all([content[i : tf.size(content) - 7 + i] == b for i, b in enumerate(_GIF_CONTROL)], 0)
    )
    flags = tf.gather(content, starts[:1, 0] + 3)
    pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
    may_be_transparent = tf.reduce_any(flags % 2 == 1) & tf.reduce_any(tf.reduce_all(pixels == 0, -1))
    with tf.control_dependencies(
        [tf.debugging.Assert(~may_be_transparent, ["A GIF with transparent pixels must be sent as PNG."])]
    ):
        return tf.identity(pixels)


def _compose(picture: tf.Tensor) -> tf.Tensor:
    """Returns (height, width, 3 or 4) uint8 on a background: `tfrecords.images.transparency.compose`."""

    def composed() -> tf.Tensor:
        colours, opacity = tf.cast(picture[..., :3], tf.int32), tf.cast(picture[..., 3:], tf.int32)
        sums = tf.reduce_sum(tf.cast(colours * opacity, tf.int64), (0, 1))
        total = tf.reduce_sum(tf.cast(opacity, tf.int64))
        is_light = 2 * tf.reduce_sum(sums * tf.constant(LUMA, tf.int64)) > 255 * sum(LUMA) * total
        background = tf.where(is_light, 0, 255)
        # Rounded: no quotient of an integer by 255 is halfway between two others.
        return tf.cast((colours * opacity + background * (255 - opacity) + 127) // 255, tf.uint8)

    is_transparent = tf.reduce_any(picture[..., 3:] < 255)
    return tf.cond(is_transparent, composed, lambda: picture[..., :3])


def _turn(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns the pixels as viewers show them: `tfrecords.images.orientation.turn_upright`."""

    def turned() -> tf.Tensor:
        shown = tf.cond(tf.reduce_any(orientation == TRANSPOSED), lambda: _transposed(pixels), lambda: pixels)
        reverse = [tf.reduce_any(orientation == these) for these in (ROWS_REVERSED, COLUMNS_REVERSED)]
        return tf.raw_ops.Reverse(tensor=shown, dims=tf.stack([*reverse, tf.constant(False)]))

    return tf.cond(orientation == 1, lambda: pixels, turned)


def _transposed(pixels: tf.Tensor) -> tf.Tensor:
    """Returns pixels with rows and columns exchanged. For `tf.transpose` of uint8, oneDNN logs an error (2.21)."""
    height, width, channels = tf.unstack(tf.shape(pixels))
    indices = tf.range(width)[:, tf.newaxis] + tf.range(height) * width
    return tf.gather(tf.reshape(pixels, (-1, channels)), indices)


def _read_orientation(content: tf.Tensor, offset: int, step: Callable[[tf.Tensor], _Step]) -> tf.Tensor:
    """Returns how a picture is to be turned: `tfrecords.images.orientation.read_orientation`.

    Args:
      content: Bytes of the file.
      offset: Index of the first segment or chunk.
      step: Function that reads the first bytes of a segment or chunk.
    """
    start, stop = _find(content, offset, step)
    return tf.cond(start > 0, lambda: _orientation(content[start:stop]), lambda: tf.constant(1, tf.int64))


def _find(content: tf.Tensor, offset: int, step: Callable[[tf.Tensor], _Step]) -> list[tf.Tensor]:
    """Returns the indices of the first and after the last byte that `step` finds, or zeros."""
    size = tf.size(content, tf.int64)

    def is_searching(offset: tf.Tensor, start: tf.Tensor, stop: tf.Tensor, ended: tf.Tensor) -> tf.Tensor:
        return ~ended & (offset + HEAD_BYTES <= size)

    def search(offset: tf.Tensor, start: tf.Tensor, stop: tf.Tensor, ended: tf.Tensor) -> list[tf.Tensor]:
        head = tf.ensure_shape(content[offset : offset + HEAD_BYTES], (HEAD_BYTES,))
        length, exif = step(tf.cast(head, tf.int64))
        is_found = exif > 0
        found = [tf.where(is_found, offset + exif, start), tf.where(is_found, offset + length, stop)]
        return [offset + length, *found, is_found | (length == 0)]

    zero = tf.constant(0, tf.int64)
    state = [tf.constant(offset, tf.int64), zero, zero, tf.constant(False)]
    _, start, stop, _ = tf.while_loop(is_searching, search, state, maximum_iterations=MAX_STEPS)
    return [start, stop]


def _jpeg_step(head: tf.Tensor) -> _Step:
    kind = head[1]
    is_fill = kind == 0xFF
    is_data = (head[0] == 0xFF) & ((kind & 0xF0 == 0xE0) | (kind == 0xFE))
    length = tf.where(is_fill, _1, tf.where(is_data, 2 + _value(head[2:4], big=True), _0))
    return length, tf.where(is_data & (kind == 0xE1) & _equal(head[4:], EXIF_MARK), _4, _0)


def _png_step(head: tf.Tensor, wanted: bytes = b"eXIf") -> _Step:
    length = tf.where(_equal(head[4:8], b"IDAT"), _0, 12 + _value(head[:4], big=True))
    return length, tf.where(_equal(head[4:8], wanted), _8, _0)


def _webp_step(head: tf.Tensor) -> _Step:
    length = _value(head[4:8], big=False)
    return 8 + length + length % 2, tf.where(_equal(head[:4], b"EXIF"), _8, _0)


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in EXIF data, 1 where they are damaged or state none."""
    exif = tf.cond(_equal(exif[:6], EXIF_MARK), lambda: exif[6:], lambda: exif)
    (little, big), tags = (_equal(exif[:4], order) for order in TAG), [list(tag) for tag in TAG.values()]

    def number(start: tf.Tensor, size: int) -> tf.Tensor:
        return tf.where(
            big, _value(exif[start : start + size], big=True), _value(exif[start : start + size], big=False)
        )

    start = number(tf.constant(4), 4) + 2
    entries = exif[start : start + 12 * number(start - 2, 2)]
    rows = tf.reshape(entries[: tf.size(entries) // 12 * 12], (-1, 12))
    is_tag = tf.reduce_all(rows[:, :8] == tf.cast(tf.where(big, tags[1], tags[0]), tf.uint8), -1)
    value = tf.concat([tf.boolean_mask(rows, is_tag)[:, 8:10], [[0, 0]]], 0)[0]
    value = tf.where(big, _value(value, big=True), _value(value, big=False))
    is_valid = (little | big) & (tf.size(exif) >= 8) & (value >= 1) & (value <= 8)
    return tf.where(is_valid, value, tf.ones_like(value))


def _number(content: tf.Tensor, start: int, size: int) -> tf.Tensor:
    return tf.cast(_value(content[start : start + size], big=False), tf.int32)


def _value(digits: tf.Tensor, big: bool) -> tf.Tensor:
    """Returns the unsigned integer of up to four bytes, int64; big-endian or little-endian."""
    size = digits.shape[0]
    weights = 256 ** tf.range(tf.size(digits, tf.int64)) if size is None else tf.constant(_WEIGHTS[:size], tf.int64)
    return tf.reduce_sum(tf.cast(digits, tf.int64) * (tf.reverse(weights, (0,)) if big else weights))


def _equal(digits: tf.Tensor, expected: bytes) -> tf.Tensor:
    """Returns whether bytes are the expected ones; False if there are fewer."""
    wanted = tf.constant(list(expected), digits.dtype)
    if digits.shape[0] == len(expected):
        return tf.reduce_all(digits == wanted)
    missing = len(expected) - tf.size(digits)
    return (missing == 0) & tf.reduce_all(tf.pad(digits, [[0, missing]]) == wanted)
