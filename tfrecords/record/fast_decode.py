"""Raw records decoded by their layout, without protobuf: a third of the time. Protobuf decodes all other records.

Two records whose values have equal sizes differ in those values only. So a record is parsed once to learn the offsets
of its values, and all later records of the same layout are split in one call. Every byte between the values is
compared, so a record is never decoded by a layout that is not its own.
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

from tfrecords.record.labels import DIGITS, MOST_LENGTH, Labels, spell
from tfrecords.record.schema import DYNAMIC_IMAGE, KINDS, NEW_IN_2, DigitExample

_TAGS = {0x0A: "bytes", 0x12: "float", 0x1A: "int64"}
_MAX_LAYOUTS = 4096
_SHORTEST = 200
"""Bytes. The names and the framing of all features are longer, so no offset used below is out of range."""
VALUE_NAMES = ("key", "text", "length", "digits", "crop_box", "jitter_offset", "source_size", "boxes", NEW_IN_2)
_KEY, _CROP_BOX = b"\x0a\x03key\x12", b"crop_box"
_TRUE = b"\x01"
_BOX_BYTES = 16


class UnknownLayoutError(Exception):
    """The record is not laid out as `encode` writes it. It may be valid still: protobuf must decode it."""


class Layout(NamedTuple):
    """Offsets of the values in a record.

    Attributes:
      parts: Struct that splits a record into the bytes before the first value, the first value, and so on. It skips
        the pixels, so that they are copied at most once.
      between: Bytes before, between and after the values.
      values: Function that returns the values of `VALUE_NAMES` from the parts.
      pixels: Range of the pixels, or of the PNG file, in the record.
      shape: Shape of the image.
      is_raw: Whether the pixels are raw.
      max_length: Number of rows of `digits` and `boxes`.
      version: Schema version of the record.
    """

    parts: struct.Struct
    between: tuple[bytes, ...]
    values: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    pixels: slice
    shape: tuple[int, ...]
    is_raw: bool
    max_length: int
    version: int


_layouts: dict[tuple[int, ...], Layout] = {}


def decode_by_layout(data: bytes, labels: Labels | None = None, version: int | None = None) -> DigitExample | None:
    """Returns the example of one record, its arrays read-only, or None if protobuf must decode it.

    Args:
      data: Serialized record.
      labels: What the dataset's numbers may be; None for digits 0..9, as many as the record has.
      version: Schema version of the dataset, as its manifest says; None accepts records of each.
    """
    try:
        layout, values = split_values(data, labels, version)
        if not layout.is_raw:
            return None
        alphabet = labels.alphabet if labels else DIGITS
        key, text, length, digits, crop_box, jitter_offset, source_size, boxes, has_digit_boxes = values
        return DigitExample(
            key.decode(),
            np.frombuffer(memoryview(data)[layout.pixels], np.uint8).reshape(layout.shape),
            *parse_label(layout.max_length, alphabet, digits, length, text),
            parse_int64s(crop_box, 4),
            parse_int64s(jitter_offset, 2),
            parse_int64s(source_size, 2),
            np.frombuffer(boxes, "<f4").reshape(-1, 4),
            parse_bool(has_digit_boxes),
            alphabet,
        )
    except (UnknownLayoutError, ValueError):
        return None


def split_values(
    data: bytes, labels: Labels | None = None, version: int | None = None
) -> tuple[Layout, tuple[bytes, ...]]:
    """Returns the layout of a record, and its serialized values in the order of `VALUE_NAMES`.

    Args:
      data: Serialized record.
      labels: What the dataset's numbers may be; None for any longest length.
      version: Schema version of the dataset, as its manifest says; None accepts records of each.

    Raises:
      UnknownLayoutError: Protobuf must decode the record.
    """
    if len(data) < _SHORTEST:
        raise UnknownLayoutError
    try:
        # These distinguish all layouts seen so far; two layouts that shared them would replace each other in turn.
        key_at, crop_box_at = data.rfind(_KEY), data.find(_CROP_BOX)
        kind = (len(data), crop_box_at, data[crop_box_at + 9], data[key_at + 6], key_at, data.rfind(b"text"))
        layout = _layouts.get(kind)
        if layout:
            parts = layout.parts.unpack(data)
        if not layout or parts[::2] != layout.between:
            layout = _layouts[kind] = _learn_layout(data)
            parts = layout.parts.unpack(data)
            if len(_layouts) > _MAX_LAYOUTS:
                _layouts.clear()
        if labels and layout.max_length != labels.max_length:
            raise UnknownLayoutError
        if version and layout.version < version:
            raise UnknownLayoutError
        return layout, layout.values(parts)
    except (IndexError, KeyError, ValueError) as error:
        raise UnknownLayoutError from error


@lru_cache(1 << 14)
def parse_label(
    max_length: int, alphabet: str, digits: bytes, length: bytes, text: bytes
) -> tuple[NDArray[np.int64], int]:
    """Returns the digits, (max_length,) int64, read-only, and the length.

    Args:
      max_length: Number of digits, with the padding.
      alphabet: Characters that the digits are indices of.
      digits: Serialized digits.
      length: Serialized length.
      text: Number as text, which must match the digits.

    Raises:
      UnknownLayoutError: `check_example` would not accept the digits, or the text differs from them.
    """
    values, count, pad = parse_int64s(digits, max_length), int(parse_int64s(length, 1)[0]), len(alphabet)
    used, padding = values[:count].tolist(), values[count:].tolist()
    is_valid = 0 <= count <= max_length and max(used, default=0) < pad and all(value == pad for value in padding)
    if not is_valid or spell(alphabet, used).encode() != text:
        raise UnknownLayoutError
    return values, count


@lru_cache(1 << 14)
def parse_int64s(data: bytes, count: int) -> NDArray[np.int64]:
    """Returns packed integers (https://protobuf.dev/programming-guides/encoding/#varints) as a read-only array.

    Args:
      data: Serialized integers.
      count: Expected number of integers.

    Raises:
      UnknownLayoutError: The data holds another number of integers, or negative or larger ones.
    """
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    if shift or len(values) != count or max(values) >= 1 << 63:
        raise UnknownLayoutError
    array = np.array(values, np.int64)
    array.flags.writeable = False
    return array


def parse_bool(data: bytes) -> bool:
    """Returns a serialized truth value.

    Raises:
      UnknownLayoutError: It is neither 0 nor 1.
    """
    if data not in (b"\x00", _TRUE):
        raise UnknownLayoutError
    return data == _TRUE


def _learn_layout(data: bytes) -> Layout:
    """Parses a record as `encode` writes it: every feature once, lists packed, no unknown features."""
    ranges = _find_values(data)
    shape = tuple(parse_int64s(data[slice(*ranges.pop("image/shape"))], 3).tolist())
    pixels, encoding = slice(*ranges["image"]), data[slice(*ranges.pop("image/format"))]
    is_raw, size = encoding == b"raw", pixels.stop - pixels.start
    if min(shape) < 1 or not (size == math.prod(shape) if is_raw else size and encoding == b"png"):
        raise UnknownLayoutError
    start, stop = ranges["boxes"]
    rows, rest = divmod(stop - start, _BOX_BYTES)
    if rest or not 1 <= rows <= MOST_LENGTH:
        raise UnknownLayoutError
    names = sorted(ranges, key=ranges.__getitem__)
    ends = [0, *(end for name in names for end in ranges[name]), len(data)]
    sizes = ((start, end - start) for start, end in pairwise(ends))
    parts = struct.Struct("".join(f"0s{size}x" if start == pixels.start else f"{size}s" for start, size in sizes))
    values: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    values = found = itemgetter(*(2 * names.index(name) + 1 for name in VALUE_NAMES if name in ranges))
    version = 2 if NEW_IN_2 in ranges else 1
    if version == 1:

        def values(parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
            # A record of schema version 1 has a box for each digit.
            return (*found(parts), _TRUE)

    return Layout(parts, parts.unpack(data)[::2], values, pixels, shape, is_raw, rows, version)


def _find_values(data: bytes) -> dict[str, tuple[int, int]]:
    """Returns the start and the end of each feature's value, by the feature's name."""
    ranges: dict[str, tuple[int, int]] = {}
    start, stop = _field(data, 0, 0x0A)
    if stop != len(data):
        raise UnknownLayoutError
    count = 0
    while start < stop:
        start, end = _field(data, start, 0x0A)
        name, value = _feature(data, start, end)
        ranges["image" if name == DYNAMIC_IMAGE else name] = value
        count += 1
        start = end
    if start != stop or count != len(ranges) or len(KINDS.keys() - ranges.keys() - {NEW_IN_2}):
        raise UnknownLayoutError
    return ranges


def _feature(data: bytes, start: int, stop: int) -> tuple[str, tuple[int, int]]:
    """Returns the name of one entry of the features' map, and the start and the end of its value."""
    start, end = _field(data, start, 0x0A)
    name = data[start:end].decode()
    kind = KINDS["image" if name == DYNAMIC_IMAGE else name]
    start, end = _field(data, end, 0x12)
    if _TAGS[data[start]] != kind:
        raise UnknownLayoutError
    start, list_end = _field(data, start, data[start])
    start, value_end = _field(data, start, 0x0A)
    if not value_end == list_end == end == stop:
        raise UnknownLayoutError
    return name, (start, value_end)


def _field(data: bytes, start: int, tag: int) -> tuple[int, int]:
    """Returns the start and the end of a field's bytes."""
    if data[start] != tag:
        raise UnknownLayoutError
    start += 1
    size = shift = 0
    while True:
        byte = data[start]
        start += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return start, start + size
