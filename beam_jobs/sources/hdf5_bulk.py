"""Reads many HDF5 objects at once, over a memory map.

Objects of one kind differ in little but values and addresses. So the first one is read message by
message into a template; all that agree with it in the bytes that decide how it is to be read
are read by NumPy at once; and the next that does not agree makes the next template. What has no
template is left to HDF5's own library.
"""

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from beam_jobs.sources.hdf5_header import OtherLayoutError, Piece, ReadBytes, Template, require

MakeTemplate = Callable[[ReadBytes, int], Template]
_WORD = 8  # bytes; version 1 metadata is aligned to it, and NumPy is fastest with whole words
_MAX_TEMPLATES = 64
"""Of one kind of object: MATLAB's files need some ten. A damaged file must not make each object a template."""


class ObjectMap:
    """The objects of one file that is open for reading; a context manager."""

    def __init__(self, path: Path, base: int) -> None:
        """Maps the file at `path`, whose addresses count from its byte `base` on.

        Raises:
          OSError: it cannot be mapped.
          ValueError: it is empty.
        """
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._words = np.frombuffer(self._map, "<u8", len(self._map) // _WORD)
        self._base = base

    def __enter__(self) -> "ObjectMap":
        return self

    def __exit__(self, *exception: object) -> None:
        del self._words  # a map that an array still looks at cannot be closed
        self._map.close()

    def release(self) -> None:
        """Lets go of the memory of what was read; it stays in the system's file cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def read(self, address: int, size: int) -> bytes:
        """Returns `size` bytes from a file address on.

        Raises:
          OtherLayoutError: the file does not hold them, or the address is not aligned.
        """
        require(bool(self.holds(np.array([address], np.uint64), size)[0]))
        return self._map[self._base + address : self._base + address + size]

    def holds(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Returns (n,) bool: at which of (n,) uint64 file addresses `size` bytes lie, on whole words."""
        room = len(self._words) * _WORD - self._base - _whole_words(size)
        if room < 0:
            return np.zeros(len(addresses), bool)
        return (addresses <= np.uint64(room)) & ((addresses + np.uint64(self._base)) % np.uint64(_WORD) == 0)

    def rows(self, addresses: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Returns (n, w) uint64: the (w,) words counted from each of (n,) addresses, which `holds` has checked."""
        first = (addresses + np.uint64(self._base)).astype(np.intp) // _WORD
        return self._words[first[:, np.newaxis] + words]


def _whole_words(size: int) -> int:
    return -(-size // _WORD) * _WORD


class Objects:
    """Objects of one kind in a map, with the templates that were met so far."""

    def __init__(self, file: ObjectMap, make_template: MakeTemplate) -> None:
        self._file = file
        self._make_template = make_template
        self._readers: list[_Reader] = []

    def read(self, addresses: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Reads the objects that templates can be made of, those of one template together.

        Args:
          addresses: (objects,) uint64, file addresses.

        Yields:
          The kind of values; (n,) int64, which of `addresses`; (n, bytes) uint8, their values.
        """
        left = np.arange(len(addresses))
        known = len(self._readers)
        number = 0
        while len(left):
            if number >= known and not self._add_reader(int(addresses[left[0]])):
                left = left[1:]
                continue
            reader = self._readers[number]
            number += 1
            fitting, values = reader.read(self._file, addresses[left])
            yield reader.kind, left[fitting], values
            left = np.delete(left, fitting)

    def _add_reader(self, address: int) -> bool:
        if len(self._readers) == _MAX_TEMPLATES:
            return False
        try:
            self._readers.append(_Reader(self._make_template(self._file.read, address)))
        except OtherLayoutError:
            return False
        return True


class _Columns(NamedTuple):
    """One piece of a template, in words."""

    pointer: tuple[int, int] | None
    size: int
    words: np.ndarray
    mask: np.ndarray
    expected: np.ndarray


class _Reader:
    """A template made ready for NumPy."""

    def __init__(self, template: Template) -> None:
        self.kind = template.kind
        self._values = template.values
        runs = [(*piece.pointer, _WORD) for piece in template.pieces if piece.pointer] + template.values
        self._pieces = [
            _columns(piece, [(start, size) for at, start, size in runs if at == number])
            for number, piece in enumerate(template.pieces)
        ]

    def read(self, file: ObjectMap, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (n,) int64, which of the (objects,) addresses the template fits; (n, bytes) uint8, their values."""
        fitting = np.arange(len(addresses))
        rows: list[np.ndarray] = []
        for piece in self._pieces:
            at = addresses[fitting] if piece.pointer is None else self._run(rows, *piece.pointer, _WORD).view("<u8")[:, 0]
            held = file.holds(at, piece.size)
            rows.append(np.zeros((len(at), len(piece.words)), "<u8"))
            rows[-1][held] = file.rows(at[held], piece.words)
            same = held & ((rows[-1] & piece.mask) == piece.expected).all(axis=1)
            if not same.all():
                fitting, rows = fitting[same], [row[same] for row in rows]
        return fitting, np.concatenate([self._run(rows, *value) for value in self._values], axis=1)

    def _run(self, rows: list[np.ndarray], piece: int, start: int, size: int) -> np.ndarray:
        """Returns (n, size) uint8: `size` bytes from a piece's byte `start` on."""
        first = int(np.searchsorted(self._pieces[piece].words, start // _WORD))
        stop = first + -(-(start % _WORD + size) // _WORD)
        words = np.ascontiguousarray(rows[piece][:, first:stop])
        return np.ascontiguousarray(words.view(np.uint8)[:, start % _WORD : start % _WORD + size])


def _columns(piece: Piece, runs: list[tuple[int, int]]) -> _Columns:
    """Picks the words that are fixed or hold one of the `runs`: first byte and bytes."""
    whole = _whole_words(len(piece.example))
    mask = np.frombuffer(piece.fixed.ljust(whole, b"\0"), "<u8")
    needed = mask != 0
    for start, size in runs:
        needed[start // _WORD : -(-(start + size) // _WORD)] = True
    words = np.flatnonzero(needed)
    expected = np.frombuffer(piece.example.ljust(whole, b"\0"), "<u8") & mask
    return _Columns(piece.pointer, whole, words, mask[words], expected[words])
