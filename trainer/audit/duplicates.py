"""Pictures that are there twice: found by a perceptual hash, compared pixel by pixel.

The hash is the signs of the 63 lowest frequencies of a picture's cosine transform: contrast and brightness change none
of them. A move by a pixel changes many, so each picture is also looked up as moved. OpenCV's own hashes are in its
contrib packages only, and imagehash would add SciPy and PyWavelets for the same transform.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 8
"""Height and width of the block of low frequencies whose signs are the hash."""
_BITS = 16
_BANDS = _BLOCK * _BLOCK // _BITS
MOST_DIFFERENT = 7
"""Bits that two hashes may differ in. Of 4 bands of 16 bits at least one differs then in one bit or none, so that all
such pairs are found by looking each band up, as it is and with each bit changed."""
_PAIRS = 1 << 22
"""Pairs whose hashes are compared at once: 64 MB."""
_SHIFTS = tuple((y, x) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2))
_MARGIN = 2
_WORTH_SHIFTS = 0.5
"""Correlation of unshifted pictures below which no shift of two pixels makes them the same."""
LEAST_CORRELATION = 0.95
"""Correlation of the grey values of two pictures from which they are near duplicates."""
MOST_ALIKE = 3
"""Other pictures that may be about as close to one of two near duplicates. 3,098 pairs of MNIST's 10,000 test pictures,
nearly all of the digit 1, have a correlation of 0.95."""
_ALIKE = 0.85
"""Correlation below which pictures are not alike."""
_LEAST_DISTINCT = 0.5
_SMOOTH = 0.002
"""Distance that is added to others, so that noise of a thousandth decides nothing."""
_AT_ONCE = 4096

_Near = dict[int, list[tuple[float, int]]]
"""Correlation and index of the other picture of each pair, by picture."""


@dataclass(frozen=True)
class Pair:
    """Two pictures that show the same.

    Attributes:
      first: Index of one picture.
      second: Index of the other one, larger.
      correlation: Correlation of their grey values where they fit best, 0..1.
      distinct: How far they stand out from pictures that are merely alike, 0..1: one minus the ratio of their distance,
        one minus the correlation, to that of the next picture but `MOST_ALIKE`.
      exact: Whether their grey values are the same.
    """

    first: int
    second: int
    correlation: float
    distinct: float
    exact: bool


def perceptual_hash(small: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Returns the hashes of grey pictures, (pictures,) uint64.

    Args:
      small: (pictures, side, side) uint8.
    """
    import cv2

    side = small.shape[1]
    basis = cv2.dct(np.eye(side), flags=cv2.DCT_ROWS).T[:_BLOCK]
    hashes = np.zeros(len(small), np.uint64)
    weights = np.uint64(1) << np.arange(_BLOCK * _BLOCK, dtype=np.uint64)
    for start in range(0, len(small), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        # Frequencies down times frequencies across. The mean grey value, the first one, is no part of what is shown.
        low = (basis @ small[part].astype(np.float64) @ basis.T).reshape(-1, _BLOCK * _BLOCK)
        low[:, 0] = 0
        # Rounded, since zeros of plain pictures come out as 1e-14 of either sign.
        hashes[part] = ((np.round(low, 6) > 0) * weights).sum(axis=1, dtype=np.uint64)
    return hashes


def close_hashes(
    wanted: NDArray[np.uint64], hashes: NDArray[np.uint64], most: int = MOST_DIFFERENT
) -> NDArray[np.int64]:
    """Returns all pairs of two different pictures whose hashes differ in at most some bits.

    Args:
      wanted: (pictures,) uint64, hashes to look for.
      hashes: (pictures,) uint64, hashes of the same pictures to look among.
      most: Largest number of different bits, 0..7.

    Returns:
      (pairs, 2) int64, each pair once, the smaller index first.
    """
    found = [np.zeros((0, 2), np.int64)]
    for band in range(_BANDS):
        shift = np.uint64(band * _BITS)
        part = (hashes >> shift).astype(np.uint16)
        order = np.argsort(part, kind="stable")
        for change in (0, *(1 << bit for bit in range(_BITS))):
            changed = (wanted >> shift).astype(np.uint16) ^ np.uint16(change)
            for pairs in _equal(part[order], order, changed):
                different = _ones(wanted[pairs[:, 0]] ^ hashes[pairs[:, 1]])
                found.append(pairs[(different <= most) & (pairs[:, 0] != pairs[:, 1])])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _candidates(small: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns the pairs of pictures whose central windows have close hashes, one of them moved or not: (pairs, 2)."""
    side = small.shape[1] - _MARGIN

    def window(y: int, x: int) -> NDArray[np.uint8]:
        return small[:, _MARGIN + y : side + y, _MARGIN + x : side + x]

    hashes = perceptual_hash(window(0, 0))
    moves = [(y, x) for y in (-_MARGIN, 0, _MARGIN) for x in (-_MARGIN, 0, _MARGIN)]
    return np.unique(np.concatenate([close_hashes(perceptual_hash(window(*move)), hashes) for move in moves]), axis=0)


def _equal(
    values: NDArray[np.uint16], order: NDArray[np.int64], wanted: NDArray[np.uint16]
) -> Iterator[NDArray[np.int64]]:
    """Yields the pairs of an index of `wanted` and an index with this value, (pairs, 2), some at a time.

    Args:
      values: Values in ascending order.
      order: Their indices.
      wanted: Value to look for, by index.
    """
    left = np.searchsorted(values, wanted, "left")
    counts = np.searchsorted(values, wanted, "right") - left
    ends = np.cumsum(counts)
    start = 0
    while start < len(wanted):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, "right")))
        number = counts[start:stop]
        first = np.repeat(np.arange(start, stop), number)
        offset = np.arange(len(first)) - np.repeat(np.cumsum(number) - number, number)
        yield np.stack([first, order[np.repeat(left[start:stop], number) + offset]], axis=1)
        start = stop


def _ones(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Returns the number of bits that are 1 in each value; NumPy counts them from version 2 on."""
    ones: NDArray[np.int64] = np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1, dtype=np.int64)
    return ones


def duplicates(small: NDArray[np.uint8], least: float = LEAST_CORRELATION) -> list[Pair]:
    """Returns the pairs of pictures that show the same, in order of their indices.

    A pair that is no exact copy must stand out: where more than `MOST_ALIKE` other pictures are within twice its
    distance of one of the two, the shape is a common one, as the digit 1 in handwriting.

    Args:
      small: (pictures, side, side) uint8, grey.
      least: Least correlation of a pair, 0..1.
    """
    pairs = _candidates(small)
    values, same = np.zeros(len(pairs)), np.zeros(len(pairs), np.bool_)
    for start in range(0, len(pairs), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        first, second = small[pairs[part, 0]], small[pairs[part, 1]]
        values[part] = correlation(first, second)
        same[part] = (first == second).all(axis=(1, 2))
    values[same] = 1.0
    kept = values >= _ALIKE
    pairs, values, same = pairs[kept], values[kept], same[kept]
    near: _Near = {}
    for (first, second), value in zip(pairs.tolist(), values.tolist(), strict=True):
        near.setdefault(first, []).append((value, second))
        near.setdefault(second, []).append((value, first))
    found = []
    for index in np.flatnonzero(values >= least).tolist():
        first, second = pairs[index].tolist()
        distance = 1 - float(values[index]) + _SMOOTH
        distinct = 1 - distance / (1 - _next_alike(near, first, second) + _SMOOTH)
        if same[index] or distinct >= _LEAST_DISTINCT:
            one = 1.0 if same[index] else distinct
            found.append(Pair(first, second, float(values[index]), one, bool(same[index])))
    return found


def _next_alike(near: _Near, first: int, second: int) -> float:
    """Returns the correlation of the next picture but `MOST_ALIKE` with one of two pictures, at least `_ALIKE`."""
    others: dict[int, float] = {}
    for value, other in (*near[first], *near[second]):
        if other not in (first, second):
            others[other] = max(value, others.get(other, 0.0))
    ordered = sorted(others.values(), reverse=True)
    return ordered[MOST_ALIKE] if len(ordered) > MOST_ALIKE else _ALIKE


def correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the correlation of grey values of pairs of pictures, (pairs,) float64, at the shift that fits best.

    Shifts are of up to two pixels each way. A plain picture has the correlation 0 with all others.

    Args:
      first: (pairs, side, side) uint8.
      second: The same of the other pictures.
    """
    centre = _normal(first[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN])
    unmoved = _normal(second[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN])
    best = (centre * unmoved).sum(axis=1, dtype=np.float64)
    # Most pairs of pictures that are merely of one kind fit badly, and shifts would take 25 times as long.
    worth = np.flatnonzero(best >= _WORTH_SHIFTS)
    centre, second = centre[worth], second[worth]
    for y, x in _SHIFTS:
        rows = slice(_MARGIN + y, second.shape[1] - _MARGIN + y)
        columns = slice(_MARGIN + x, second.shape[2] - _MARGIN + x)
        best[worth] = np.maximum(best[worth], (centre * _normal(second[:, rows, columns])).sum(axis=1))
    bounded: NDArray[np.float64] = np.clip(best, 0.0, 1.0)
    return bounded


def _normal(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns grey values with the mean 0 and the length 1, (pictures, pixels)."""
    flat = pictures.reshape(len(pictures), pictures.shape[1] * pictures.shape[2]).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    normal: NDArray[np.float32] = np.divide(flat, length, out=np.zeros_like(flat), where=length > 1e-9)
    return normal
