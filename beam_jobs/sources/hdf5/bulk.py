"""Reads many HDF5 objects at once, through a memory map.

Objects of one kind differ in little but their values and addresses. So the first object is read message by message
into a template. NumPy then reads, at once, all objects that agree with the template in the bytes that decide how to
read them. The first object that does not agree makes the next template. Objects without a template are left to HDF5's
own library.
"""

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from beam_jobs.sources.hdf5.header import OtherLayoutError, Piece, ReadBytes, Template, require

MakeTemplate = Callable[[ReadBytes, int], Template]
_WORD = 8  # bytes; version 1 metadata is aligned to it, and NumPy is fastest with whole words
_WHOLE_WORD = np.uint64(2**64 - 1)
"""Mask of a word of which every byte is checked. Most are such, and comparing them needs no mask."""
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8))
"""Start of a superblock of version 0: four more versions, and the sizes of addresses and lengths, 8 bytes each."""
_MAX_TEMPLATES = 64
"""Templates per kind of object. MATLAB's files need about ten; a damaged file must not make one of each object."""


class ObjectMap:
    """Objects of one file, mapped for reading; a context manager."""

    def __init__(self, path: Path, base: int) -> None:
        """Maps a file. A file that cannot be mapped or has no 8-byte addresses appears to hold no objects.

        Args:
          path: Path of the file.
          base: Offset in the file from which its addresses count, bytes.
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
        del self._words  # a map that an array still refers to cannot be closed
        if self._map is not None:
            self._map.close()

    def release(self) -> None:
        """Releases the memory of the pages that were read; they stay in the system's file cache."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def read(self, address: int, size: int) -> bytes:
        """Returns `size` bytes from a file address.

        Raises:
          OtherLayoutError: The file ends before, or the address is not aligned.
        """
        require(bool(self.holds(np.array([address], np.uint64), size)[0]))
        first = (self._base + address) // _WORD
        return self._words[first : first + _whole_words(size) // _WORD].tobytes()[:size]

    def holds(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Returns (n,) bool: which of (n,) uint64 file addresses are aligned, with `size` bytes inside the file."""
        room = len(self._words) * _WORD - self._base - _whole_words(size)
        if room < 0:
            return np.zeros(len(addresses), bool)
        held: np.ndarray = (addresses <= np.uint64(room)) & (
            (addresses + np.uint64(self._base)) & np.uint64(_WORD - 1) == 0  # % takes twenty times as long
        )
        return held

    def word_indices(self, addresses: np.ndarray) -> np.ndarray:
        """Returns (n,) int64: the index of the word at each of (n,) uint64 file addresses, checked with `holds`."""
        return ((addresses + np.uint64(self._base)) // np.uint64(_WORD)).astype(np.int64)

    def words(self, indices: np.ndarray, offset: int) -> np.ndarray:
        """Returns (n,) uint64: the word that comes `offset` words after each of (n,) word indices."""
        # Word by word is ten times as fast as all words of an object (measured), "clip" twice as fast as "raise".
        return self._words[offset:].take(indices, mode="clip")


def _whole_words(size: int) -> int:
    """Returns a size rounded up to words, bytes."""
    return -(-size // _WORD) * _WORD


class Objects:
    """Objects of one kind in a map, with the templates found so far."""

    def __init__(self, file: ObjectMap, make_template: MakeTemplate) -> None:
        """Takes the map of the file, and the function that makes the template of an object."""
        self._file = file
        self._make_template = make_template
        self._readers: list[_Reader] = []

    def read(self, addresses: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Reads the objects that fit a template, the objects of one template together.

        Args:
          addresses: (objects,) uint64, file addresses.

        Yields:
          Kind of the values; (n,) int64, indices in `addresses`; (n, bytes) uint8, values of these objects.
        """
        left = np.arange(len(addresses))
        known = len(self._readers)
        tried = 0
        while len(left):
            if tried >= known and not self._add_reader(int(addresses[left[0]])):
                left = left[1:]
                continue
            reader = self._readers[tried]
            tried += 1
            fitting, values = reader.read(self._file, addresses[left])
            yield reader.kind, left[fitting], values
            left = np.delete(left, fitting) if len(fitting) < len(left) else left[:0]

    def _add_reader(self, address: int) -> bool:
        """Adds the template of the object at an address, and returns whether that was possible."""
        if len(self._readers) == _MAX_TEMPLATES:
            return False
        try:
            self._readers.append(_Reader(self._make_template(self._file.read, address)))
        except OtherLayoutError:
            return False
        return True


class _Part(NamedTuple):
    """A piece of a template, ready for NumPy.

    Attributes:
      pointer: Location of this piece's address: index of a piece and first byte; None for the object's address.
      size: Size, bytes, of whole words.
      checks: Words to check: index of the word, mask (None for the whole word), and expected value under the mask.
    """

    pointer: tuple[int, int] | None
    size: int
    checks: list[tuple[int, np.uint64 | None, np.uint64]]


class _Reader:
    """A template, ready for NumPy."""

    def __init__(self, template: Template) -> None:
        """Takes the template."""
        self.kind = template.kind
        self._values = template.values
        self._parts = [_part(piece) for piece in template.pieces]

    def read(self, file: ObjectMap, addresses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the objects that the template fits.

        Args:
          file: Map of the file.
          addresses: (objects,) uint64, file addresses.

        Returns:
          (n,) int64, indices in `addresses`; (n, bytes) uint8, values of these objects.
        """
        state = [np.arange(len(addresses))]  # objects that still fit, and the word index of each of their pieces
        for pointer, size, checks in self._parts:
            at = addresses[state[0]] if pointer is None else file.words(state[1 + pointer[0]], pointer[1] // _WORD)
            held = file.holds(at, size)
            state = [*_keep(state, held), file.word_indices(at[held])]
            for offset, mask, expected in checks:
                words = file.words(state[-1], offset)
                state = _keep(state, (words if mask is None else words & mask) == expected)
        fitting, *pieces = state
        return fitting, np.concatenate([_bytes(file, pieces[piece], *run) for piece, *run in self._values], axis=1)


def _keep(arrays: list[np.ndarray], chosen: np.ndarray) -> list[np.ndarray]:
    """Returns the chosen elements of each array."""
    return arrays if chosen.all() else [array[chosen] for array in arrays]


def _bytes(file: ObjectMap, indices: np.ndarray, start: int, size: int) -> np.ndarray:
    """Returns (n, size) uint8: bytes `start` to before `start + size` of the pieces at (n,) word indices."""
    first, stop = start // _WORD, _whole_words(start + size) // _WORD
    words = np.empty((len(indices), stop - first), "<u8")
    for offset in range(first, stop):
        words[:, offset - first] = file.words(indices, offset)
    skipped = start - first * _WORD
    return np.ascontiguousarray(words.view(np.uint8)[:, skipped : skipped + size])


def _part(piece: Piece) -> _Part:
    """Returns a piece, ready for NumPy."""
    size = _whole_words(len(piece.example))
    mask = np.frombuffer(piece.fixed.ljust(size, b"\0"), "<u8")
    expected = np.frombuffer(piece.example.ljust(size, b"\0"), "<u8") & mask
    checks = [
        (int(index), None if mask[index] == _WHOLE_WORD else mask[index], expected[index])
        for index in np.flatnonzero(mask)
    ]
    return _Part(piece.pointer, size, checks)
