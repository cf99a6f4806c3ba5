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

from beam_jobs.sources.hdf5.header import OtherLayoutError, Piece, ReadBytes, Template, require

MakeTemplate = Callable[[ReadBytes, int], Template]
_WORD = 8  # bytes; version 1 metadata is aligned to it, and NumPy is fastest with whole words
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8))
"""Of version 0: versions of the superblock and three things in it, and the bytes of addresses and sizes."""
_MAX_TEMPLATES = 64
"""Of one kind of object: MATLAB's files need some ten. A damaged file must not make each object a template."""


class ObjectMap:
    """The objects of one file that is open for reading; a context manager."""

    def __init__(self, path: Path, base: int) -> None:
        """Maps the file at `path`, whose addresses count from its byte `base` on.

        One that cannot be mapped, or counts with other than 8 bytes, is as one without objects.
        """
        self._base = base
        self._map: mmap.mmap | None = None
        self._words = np.empty(0, "<u8")
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a file system without maps; an empty file
            return
        if self._map[base : base + len(_SUPERBLOCK)] == _SUPERBLOCK:
            self._words = np.frombuffer(self._map, "<u8", len(self._map) // _WORD)

    def __enter__(self) -> "ObjectMap":
        return self

    def __exit__(self, *exception: object) -> None:
        del self._words  # a map that an array still looks at cannot be closed
        if self._map is not None:
            self._map.close()

    def release(self) -> None:
        """Lets go of the memory of what was read; it stays in the system's file cache."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def read(self, address: int, size: int) -> bytes:
        """Returns `size` bytes from a file address on.

        Raises:
          OtherLayoutError: the file does not hold them, or the address is not aligned.
        """
        require(bool(self.holds(np.array([address], np.uint64), size)[0]))
        first = (self._base + address) // _WORD
        return self._words[first : first + _whole_words(size) // _WORD].tobytes()[:size]

    def holds(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Returns (n,) bool: at which of (n,) uint64 file addresses `size` bytes lie, on whole words."""
        room = len(self._words) * _WORD - self._base - _whole_words(size)
        if room < 0:
            return np.zeros(len(addresses), bool)
        held: np.ndarray = (addresses <= np.uint64(room)) & (
            (addresses + np.uint64(self._base)) % np.uint64(_WORD) == 0
        )
        return held

    def places(self, addresses: np.ndarray) -> np.ndarray:
        """Returns (n,) int64: the word that stands at each of (n,) uint64 file addresses, which `holds` has checked."""
        return ((addresses + np.uint64(self._base)) // np.uint64(_WORD)).astype(np.int64)

    def words(self, places: np.ndarray, word: int) -> np.ndarray:
        """Returns (n,) uint64: the word that is `word` words behind each of (n,) `places`."""
        # A word at a time is ten times as fast as all words of an object (measured), "clip" twice as fast as "raise".
        return self._words[word:].take(places, mode="clip")


def _whole_words(size: int) -> int:
    return -(-size // _WORD) * _WORD


class Objects:
    """Objects of one kind in a map, with the templates that were met so far."""

    def __init__(self, file: ObjectMap, make_template: MakeTemplate) -> None:
        """Takes the map of the file, and the function that makes the template of an object."""
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


class _Part(NamedTuple):
    """A piece of a template, in words: where its address stands, its size, and of each word to check the bits given."""

    pointer: tuple[int, int] | None
    size: int
    checks: list[tuple[int, np.uint64, np.uint64]]


class _Reader:
    """A template made ready for NumPy."""

    def __init__(self, template: Template) -> None:
        self.kind = template.kind
        self._values = template.values
        self._parts = [_part(piece) for piece in template.pieces]

    def read(self, file: ObjectMap, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (n,) int64, which of the (objects,) addresses the template fits; (n, bytes) uint8, their values."""
        state = [np.arange(len(addresses))]  # the objects that still fit, and the place of each of their pieces
        for pointer, size, checks in self._parts:
            at = addresses[state[0]] if pointer is None else file.words(state[1 + pointer[0]], pointer[1] // _WORD)
            held = file.holds(at, size)
            state = [*_keep(state, held), file.places(at[held])]
            for word, mask, expected in checks:
                state = _keep(state, (file.words(state[-1], word) & mask) == expected)
        fitting, *places = state
        return fitting, np.concatenate([_bytes(file, places[piece], *run) for piece, *run in self._values], axis=1)


def _keep(arrays: list[np.ndarray], chosen: np.ndarray) -> list[np.ndarray]:
    return arrays if chosen.all() else [array[chosen] for array in arrays]


def _bytes(file: ObjectMap, places: np.ndarray, start: int, size: int) -> np.ndarray:
    """Returns (n, size) uint8: the bytes from byte `start` of each piece on."""
    first, stop = start // _WORD, _whole_words(start + size) // _WORD
    words = np.empty((len(places), stop - first), "<u8")
    for word in range(first, stop):
        words[:, word - first] = file.words(places, word)
    skipped = start - first * _WORD
    return np.ascontiguousarray(words.view(np.uint8)[:, skipped : skipped + size])


def _part(piece: Piece) -> _Part:
    size = _whole_words(len(piece.example))
    mask = np.frombuffer(piece.fixed.ljust(size, b"\0"), "<u8")
    expected = np.frombuffer(piece.example.ljust(size, b"\0"), "<u8") & mask
    return _Part(piece.pointer, size, [(int(word), mask[word], expected[word]) for word in np.flatnonzero(mask)])
