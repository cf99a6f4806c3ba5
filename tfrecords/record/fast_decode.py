"""Raw records decoded by their layout, without protobuf: a third of the time. Any other record is left to protobuf.

Two records whose values are equally long differ in nothing but those values. So a record is walked through once to
learn where its values stand, and all that follow of the same layout are taken apart in one call. Every byte
between the values is compared, so a record that is not what its layout says is never taken for it.
"""

import math
import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.schema import DYNAMIC_IMAGE, FEATURES, MAX_LENGTH, PAD, DigitExample

_KINDS = {0x0A: "bytes", 0x12: "float", 0x1A: "int64"}
_MAX_LAYOUTS = 4096
_SHORTEST = 200
"""Bytes: every feature's name and framing are longer, so that no place looked at below can be missing."""
_CROP_BOX_SIZE = 102
"""Where records of 128 bytes to 16 kB state how long the crop box is."""
VALUES = ("key", "text", "length", "digits", "crop_box", "jitter_offset", "source_size", "boxes")
_KEY = b"\x0a\x03key\x12"


class OtherwiseError(Exception):
    """The record is not as `encode` writes it, which need not mean that it is wrong."""


class Layout(NamedTuple):
    """Where records hold their values.

    Attributes:
      parts: unpacks a record into what stands before the first value, the first value, and so on; of the pixels
        nothing, to copy them no more than once.
      between: what stands before, between and behind the values.
      values: takes those of `VALUES` from the parts.
      pixels: where they, or a PNG file of them, stand.
      shape: of the image.
      is_raw: whether the pixels stand there as they are.
    """

    parts: struct.Struct
    between: tuple[bytes, ...]
    values: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    pixels: slice
    shape: tuple[int, ...]
    is_raw: bool


_layouts: dict[tuple[int, ...], Layout] = {}


def decode_by_layout(data: bytes) -> DigitExample | None:
    """Returns the example of one record, its arrays read-only; None where protobuf must see to it."""
    try:
        layout, values = take_apart(data)
        if not layout.is_raw:
            return None
        key, text, length, digits, crop_box, jitter_offset, source_size, boxes = values
        return DigitExample(
            key.decode(),
            np.frombuffer(memoryview(data)[layout.pixels], np.uint8).reshape(layout.shape),
            *number_of(digits, length, text),
            int64s(crop_box, 4),
            int64s(jitter_offset, 2),
            int64s(source_size, 2),
            np.frombuffer(boxes, "<f4").reshape(FEATURES["boxes"].shape),
        )
    except (OtherwiseError, ValueError):
        return None


def take_apart(data: bytes) -> tuple[Layout, tuple[bytes, ...]]:
    """Returns where a record holds its values, and them, in the order of `VALUES`.

    Raises:
      OtherwiseError: protobuf must see to it.
    """
    if len(data) < _SHORTEST:
        raise OtherwiseError
    try:
        # What tells layouts apart; were two to share it, they would be learned in turn.
        key_at = data.rfind(_KEY)
        kind = (len(data), data[_CROP_BOX_SIZE], data[key_at + len(_KEY)], key_at, data.rfind(b"text"))
        layout = _layouts.get(kind)
        if layout:
            parts = layout.parts.unpack(data)
        if not layout or parts[::2] != layout.between:
            layout = _layouts[kind] = _learn(data)
            parts = layout.parts.unpack(data)
            if len(_layouts) > _MAX_LAYOUTS:
                _layouts.clear()
        return layout, layout.values(parts)
    except (IndexError, KeyError, ValueError) as error:
        raise OtherwiseError from error


@lru_cache(1 << 14)
def number_of(digits: bytes, length: bytes, text: bytes) -> tuple[NDArray[np.int64], int]:
    """Returns the digits, (5,) int64, read-only, and how many there are.

    Raises:
      OtherwiseError: they are no number that `check_example` would pass, or `text` is another.
    """
    values, count = int64s(digits, MAX_LENGTH), int(int64s(length, 1)[0])
    numbers, padding = values[:count].tolist(), values[count:].tolist()
    is_number = 1 <= count <= MAX_LENGTH and max(numbers) <= 9 and all(value == PAD for value in padding)
    if not is_number or "".join(map(str, numbers)).encode() != text:
        raise OtherwiseError
    return values, count


@lru_cache(1 << 14)
def int64s(data: bytes, count: int) -> NDArray[np.int64]:
    """Returns `count` packed integers (https://protobuf.dev/programming-guides/encoding/#varints), read-only.

    Raises:
      OtherwiseError: they are others, or more or fewer.
    """
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    if shift or len(numbers) != count or max(numbers) >= 1 << 63:
        raise OtherwiseError
    array = np.array(numbers, np.int64)
    array.flags.writeable = False
    return array


def _learn(data: bytes) -> Layout:
    """Walks through a record as `encode` writes it: every feature once, lists packed, nothing unknown."""
    places = {}
    start, stop = _field(data, 0, 0x0A)
    if stop != len(data):
        raise OtherwiseError
    count = 0
    while start < stop:
        start, end = _field(data, start, 0x0A)
        name, place = _feature(data, start, end)
        places["image" if name == DYNAMIC_IMAGE else name] = place
        count += 1
        start = end
    if start != stop or not count == len(places) == len(FEATURES):
        raise OtherwiseError
    shape = tuple(int64s(data[slice(*places.pop("image/shape"))], 3).tolist())
    pixels, encoding = slice(*places["image"]), data[slice(*places.pop("image/format"))]
    is_raw, size = encoding == b"raw", pixels.stop - pixels.start
    if min(shape) < 1 or not (size == math.prod(shape) if is_raw else size and encoding == b"png"):
        raise OtherwiseError
    start, stop = places["boxes"]
    if stop - start != 4 * math.prod(FEATURES["boxes"].shape):
        raise OtherwiseError
    names = sorted(places, key=places.__getitem__)
    ends = [0, *(end for name in names for end in places[name]), len(data)]
    sizes = ((start, end - start) for start, end in pairwise(ends))
    parts = struct.Struct("".join(f"0s{size}x" if start == pixels.start else f"{size}s" for start, size in sizes))
    values = itemgetter(*(2 * names.index(name) + 1 for name in VALUES))
    return Layout(parts, parts.unpack(data)[::2], values, pixels, shape, is_raw)


def _feature(data: bytes, start: int, stop: int) -> tuple[str, tuple[int, int]]:
    """Returns the name of one entry of the features' map, and where its value starts and stops."""
    start, end = _field(data, start, 0x0A)
    name = data[start:end].decode()
    kind = FEATURES["image" if name == DYNAMIC_IMAGE else name].kind
    start, end = _field(data, end, 0x12)
    if _KINDS[data[start]] != kind:
        raise OtherwiseError
    start, listed = _field(data, start, data[start])
    start, last = _field(data, start, 0x0A)
    if not last == listed == end == stop:
        raise OtherwiseError
    return name, (start, last)


def _field(data: bytes, start: int, tag: int) -> tuple[int, int]:
    """Returns where a field's bytes start and stop."""
    if data[start] != tag:
        raise OtherwiseError
    start += 1
    size = shift = 0
    while True:
        byte = data[start]
        start += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return start, start + size
