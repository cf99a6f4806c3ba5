"""Reads the version 1 header of one HDF5 object, and marks the bytes that decide how to read the object.

The layout is that of the HDF5 File Format Specification 3.0, section IV.A, Data Object Headers
(https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

ReadBytes = Callable[[int, int], bytes]
"""Function that returns bytes of a file, given an address and a size; raises OtherLayoutError if there are fewer."""
DATASPACE, DATATYPE, STORAGE, ATTRIBUTE, SYMBOL_TABLE = 1, 3, 8, 12, 17
ADDRESSES = struct.Struct("<QQ")
REFERENCE = "reference"

_PREFIX = struct.Struct("<BxHII4x")  # version, messages, references to the object, bytes of messages
_MESSAGE = struct.Struct("<HHB3x")  # type, bytes of the body, flags
_CONTINUATION = 16
_PLAIN_FLAGS = (0, 1)  # 1: constant; others: stored elsewhere, or left to HDF5's library
_IGNORED_MESSAGES = frozenset((0, 4, 5, 14, 18, 22))
"""Types of messages that change no value of compact data: padding, fill values, times, reference count."""
_ALIGNMENT = 8  # bytes
_MAX_PIECES = 8
_MAX_PIECE_BYTES = 1 << 17


class OtherLayoutError(Exception):
    """An object has a layout that is not read in bulk; HDF5's own library may still read it."""


def require(good: bool) -> None:
    """Checks a condition on the layout of an object.

    Raises:
      OtherLayoutError: The condition is false.
    """
    if not good:
        raise OtherLayoutError


@dataclass
class Piece:
    """Consecutive bytes of an object.

    Attributes:
      pointer: Location of this piece's address: index of a piece and first byte; None for the object's address.
      example: Bytes of the object that the template was made from.
      fixed: Mask of the bytes that decide how to read the object: 255 for these, 0 for others.
    """

    pointer: tuple[int, int] | None
    example: bytes
    fixed: bytearray

    def fix(self, start: int, size: int) -> None:
        """Marks `size` bytes from `start` as deciding how to read the object."""
        self.fixed[start : start + size] = b"\xff" * size


@dataclass
class Template:
    """Layout of an object, and of every other object with the same fixed bytes.

    Attributes:
      kind: Type of a dataset as NumPy spells it, or `REFERENCE` for file addresses, as a group has them.
      pieces: Pieces of the object, its header first; the pointer of a piece is in an earlier piece.
      values: Locations of the values, in order: index of the piece, first byte, size in bytes.
    """

    kind: str = REFERENCE
    pieces: list[Piece] = field(default_factory=list)
    values: list[tuple[int, int, int]] = field(default_factory=list)


class HeaderWalk:
    """Header of one object, read message by message.

    Attributes:
      read: Function that reads bytes of the file.
      template: Template with the pieces of the header.
      found: Body of each message that matters, by type: index of the piece, first byte, size in bytes.
      attributes: Bodies of the attributes' messages, likewise.
    """

    def __init__(self, read: ReadBytes, address: int) -> None:
        """Reads the header at a file address.

        Args:
          read: Function that reads bytes of the file.
          address: File address of the object.

        Raises:
          OtherLayoutError: The header has another version, unknown messages or wrong sizes.
        """
        self.read = read
        self.template = Template()
        self.found: dict[int, tuple[int, int, int]] = {}
        self.attributes: list[tuple[int, int, int]] = []
        version, count, _, size = _PREFIX.unpack(read(address, _PREFIX.size))
        require(version == 1)
        self.add(None, address, _PREFIX.size + size).fix(0, _PREFIX.size)
        require(self._walk() == count)

    def add(self, pointer: tuple[int, int] | None, address: int, size: int) -> Piece:
        """Adds a piece to the template and returns it.

        Args:
          pointer: Location of the piece's address: index of a piece and first byte; None for the object's address.
          address: File address of the piece.
          size: Size of the piece, bytes.

        Raises:
          OtherLayoutError: The piece is too large or outside the file, or there are too many pieces.
        """
        pieces = self.template.pieces
        require(len(pieces) < _MAX_PIECES and 0 < size <= _MAX_PIECE_BYTES)
        pieces.append(Piece(pointer, self.read(address, size), bytearray(size)))
        return pieces[-1]

    def body(self, kind: int) -> bytes:
        """Returns the body of the message of a type."""
        piece, start, size = self.found[kind]
        return self.template.pieces[piece].example[start : start + size]

    def fix(self, kind: int, start: int, size: int) -> None:
        """Marks `size` bytes from `start` of a message's body as deciding how to read the object."""
        piece, body, _ = self.found[kind]
        self.template.pieces[piece].fix(body + start, size)

    def _walk(self) -> int:
        """Reads all messages and returns their number."""
        count, start = 0, _PREFIX.size
        for index, piece in enumerate(self.template.pieces):  # grows by a piece per continuation
            while start < len(piece.example):
                require(len(piece.example) - start >= _MESSAGE.size)
                kind, size, flags = _MESSAGE.unpack_from(piece.example, start)
                piece.fix(start, _MESSAGE.size)
                body = start + _MESSAGE.size
                start = body + size
                require(flags in _PLAIN_FLAGS and size % _ALIGNMENT == 0 and start <= len(piece.example))
                self._add_message(kind, (index, body, size))
                count += 1
            start = 0
        return count

    def _add_message(self, kind: int, location: tuple[int, int, int]) -> None:
        """Stores where a message's body is, or adds the piece that a continuation points to."""
        if kind in _IGNORED_MESSAGES:
            return
        if kind == ATTRIBUTE:
            self.attributes.append(location)
            return
        require(kind not in self.found)
        if kind != _CONTINUATION:
            self.found[kind] = location
            return
        index, body, size = location
        require(size >= ADDRESSES.size)
        piece = self.template.pieces[index]
        piece.fix(body + 8, 8)
        self.add((index, body), *ADDRESSES.unpack_from(piece.example, body))
