"""Several examples, or several scenes, as one array per attribute."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.record.fast_decode import (
    VALUE_NAMES,
    UnknownLayoutError,
    parse_bool,
    parse_int64s,
    parse_label,
    split_values,
)
from tfrecords.record.labels import Labels
from tfrecords.record.scene import SCENE_NAMES, SceneExample
from tfrecords.record.schema import DigitExample

Batch = dict[str, NDArray[Any]]
"""Arrays by name, one of `NAMES`, with examples along the first axis. Those of `key` and `text` hold strings."""
NAMES = (*(field.name for field in fields(DigitExample) if field.name != "alphabet"), "text")
"""The attributes of `DigitExample` without the alphabet, in its order, and `text`."""
_COUNTS = {"number_count": "texts", "digit_count": "digit_labels"}
"""Arrays of a batch of scenes that say how many rows of others are no padding, and one of these."""
BATCH_NAMES_OF_SCENES = (*SCENE_NAMES, *_COUNTS)
"""Names of the arrays of a batch of scenes."""
_ALIGNMENT = 64
"""Bytes. TensorFlow and JAX use arrays at a multiple of this address without a copy, and copy others."""
Columns = dict[str, Sequence[bytes]]
DEFAULT = Labels()


def check_names(names: Sequence[str], known: Sequence[str] = NAMES) -> None:
    """Checks the names of arrays.

    Raises:
      UserError: A name is not one of the known ones.
    """
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"names must be among {', '.join(known)}.", ", ".join(unknown))


def stack(examples: Sequence[DigitExample], names: Sequence[str] = NAMES) -> Batch:
    """Returns examples as one array per attribute.

    Args:
      examples: At least one example.
      names: Names of the arrays, of `NAMES`.

    Raises:
      UserError: The images differ in size.
    """
    shapes = {example.image.shape for example in examples}
    if len(shapes) > 1 and "image" in names:
        rule = f"{examples[0].key}: the images of one batch must have one size."
        raise UserError(rule, " and ".join(map(str, sorted(shapes))))
    return {name: _stack([getattr(example, name) for example in examples]) for name in names}


def stack_scenes(scenes: Sequence[SceneExample], names: Sequence[str] = BATCH_NAMES_OF_SCENES) -> Batch:
    """Returns scenes as one array per attribute, their lists padded to the longest one of the batch.

    Texts are padded with empty strings and the other lists with zeros; `number_count` and `digit_count` are the numbers
    of rows that are no padding: (scenes,) int64.

    Args:
      scenes: At least one scene; those of one dataset have images of one size.
      names: Names of the arrays, of `BATCH_NAMES_OF_SCENES`.
    """
    batch: Batch = {}
    for name in names:
        values = [getattr(scene, _COUNTS.get(name, name)) for scene in scenes]
        if name in _COUNTS:
            batch[name] = np.array([len(value) for value in values])
        elif name == "texts":
            longest = max(map(len, values))
            rows = [list(value) + [""] * (longest - len(value)) for value in values]
            batch[name] = np.array(rows, str).reshape(len(rows), longest)
        elif name in _LISTS:
            batch[name] = _pad(values)
        else:
            batch[name] = _stack(values)
    return batch


_LISTS = ("boxes", "digit_labels", "digit_numbers", "digit_boxes")


def _pad(values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Returns arrays that differ in their number of rows as one, padded with zeros."""
    padded = np.zeros((len(values), max(map(len, values)), *values[0].shape[1:]), values[0].dtype)
    for row, value in zip(padded, values, strict=True):
        row[: len(value)] = value
    return padded


def stack_by_layout(
    records: Iterable[bytes],
    count: int,
    names: Sequence[str] = NAMES,
    labels: Labels = DEFAULT,
    version: int | None = None,
) -> Batch:
    """Returns what `stack` returns for raw records that `encode` wrote, in half the time or less.

    Args:
      records: At least one record. Each is copied before the next one is requested.
      count: Number of records.
      names: Names of the arrays, of `NAMES`.
      labels: What the dataset's numbers may be.
      version: Schema version of the dataset, as its manifest says; None accepts records of each.

    Raises:
      UnknownLayoutError: A record needs protobuf, or the images differ in size.
    """
    with_images = "image" in names
    shape: tuple[int, ...] = ()
    start = 0
    flat: list[bytes] = []
    for data in records:
        layout, values = split_values(data, labels, version)
        if not layout.is_raw:
            raise UnknownLayoutError
        flat += values
        if with_images:
            if layout.shape != shape:
                if shape:
                    raise UnknownLayoutError
                shape = layout.shape
                images = empty_images((count, *shape))
                pixels, size = images.reshape(-1).data, math.prod(shape)
            pixels[start : start + size] = memoryview(data)[layout.pixels]
            start += size
    columns = to_columns(flat, [name for name in names if name != "image"], labels)
    return {name: images if name == "image" else columns[name] for name in names}


def to_columns(values: Sequence[bytes], names: Iterable[str], labels: Labels = DEFAULT) -> Batch:
    """Returns the arrays of attributes.

    Args:
      values: Values of all records in one flat sequence, those of each record in the order of `VALUE_NAMES`. Python's
        garbage collector would traverse a tuple per record again and again.
      names: Names of the arrays, of `NAMES` without `image`.
      labels: What the dataset's numbers may be.

    Raises:
      UnknownLayoutError: A record needs protobuf.
    """
    columns = {name: values[position :: len(VALUE_NAMES)] for position, name in enumerate(VALUE_NAMES)}
    try:
        return {name: _ARRAYS[name](columns, labels) for name in names}
    except ValueError as error:
        raise UnknownLayoutError from error


def _labels(columns: Columns, labels: Labels) -> tuple[tuple[NDArray[np.int64], ...], tuple[int, ...]]:
    parse = partial(parse_label, labels.max_length, labels.alphabet)
    digits, lengths = zip(*map(parse, *(columns[name] for name in ("digits", "length", "text"))), strict=True)
    return digits, lengths


def _int64s(name: str, count: int) -> Callable[[Columns, Labels], NDArray[np.int64]]:
    return lambda columns, _: _stack([parse_int64s(data, count) for data in columns[name]])


_ARRAYS: dict[str, Callable[[Columns, Labels], NDArray[Any]]] = {
    "key": lambda columns, _: np.array([key.decode() for key in columns["key"]]),
    "digits": lambda columns, labels: _stack(_labels(columns, labels)[0]),
    "length": lambda columns, labels: np.array(_labels(columns, labels)[1]),
    "crop_box": _int64s("crop_box", 4),
    "jitter_offset": _int64s("jitter_offset", 2),
    "source_size": _int64s("source_size", 2),
    "boxes": lambda columns, labels: np.frombuffer(bytearray().join(columns["boxes"]), "<f4").reshape(
        -1, labels.max_length, 4
    ),
    "has_digit_boxes": lambda columns, _: np.array([parse_bool(value) for value in columns["has_digit_boxes"]]),
    "text": lambda columns, _: np.array([text.decode() for text in columns["text"]]),
}


def _stack(values: Sequence[Any]) -> NDArray[Any]:
    if isinstance(values[0], np.ndarray):
        # Twice as fast as np.stack.
        return np.concatenate(values).reshape(len(values), *values[0].shape)
    return np.array(values)


def empty_images(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns an uninitialised array whose address is a multiple of `_ALIGNMENT`."""
    size = math.prod(shape)
    data = np.empty(size + _ALIGNMENT, np.uint8)
    start = -data.ctypes.data % _ALIGNMENT
    return data[start : start + size].reshape(shape)
