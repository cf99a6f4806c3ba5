"""Walks one HDF5 object's version 1 header, noting which bytes decide how the object is to be read.

Facts are from the HDF5 File Format Specification 3.0, section IV.A, Data Object Headers
(https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

ReadBytes = Callable[[int, int], bytes]
"""Returns so many bytes from a file address on; raises OtherLayoutError where the file has none."""
DATASPACE, DATATYPE, STORAGE, SYMBOL_TABLE = 1, 3, 8, 17
ADDRESSES = struct.Struct("<QQ")
REFERENCE = "reference"

_PREFIX = struct.Struct("<BxHII4x")  # version, messages, references to the object, bytes of messages
_MESSAGE = struct.Struct("<HHB3x")  # type, bytes of the body, flags
_CONTINUATION = 16
_PLAIN_FLAGS = (0, 1)  # 1: constant; others: kept elsewhere, or for the library to judge
_WITHOUT_MEANING_HERE = frozenset((0, 4, 5, 12, 14, 18, 22))
"""Messages that change no value of compact data: padding, fill values, attribute, times, reference count."""
_ALIGNMENT = 8  # bytes
_MAX_PIECES = 8
_MAX_PIECE_BYTES = 1 << 17


class OtherLayoutError(Exception):
    """An object is not of the kinds that are read in bulk; HDF5's own library may still read it."""


def require(good: bool) -> None:
    """Raises OtherLayoutError unless `good`."""
    if not good:
        raise OtherLayoutError


@dataclass
class Piece:
    """One run of bytes of an object.

    Attributes:
      pointer: the piece, and the byte in it, where this one's address stands; None: it is the object's address.
      example: the bytes, of the object that the template was made from.
      fixed: for each byte 255 where it decides how the object is to be read, else 0.
    """

    pointer: tuple[int, int] | None
    example: bytes
    fixed: bytearray

    def fix(self, start: int, size: int) -> None:
        """Notes that `size` bytes from `start` on decide how the object is to be read."""
        self.fixed[start : start + size] = b"\xff" * size


@dataclass
class Template:
    """How to read an object, and any other one whose fixed bytes are the same.

    Attributes:
      kind: a dataset's type as NumPy spells it, or `REFERENCE`: file addresses, which is what a group has.
      pieces: the object's header first; a piece's pointer lies in a piece before it.
      values: where the values are, in order: piece, first byte, bytes.
    """

    kind: str = REFERENCE
    pieces: list[Piece] = field(default_factory=list)
    values: list[tuple[int, int, int]] = field(default_factory=list)


class HeaderWalk:
    """Reads one object's header.

    Attributes:
      template: with the header's pieces.
      found: for each message type that matters: piece, first byte and bytes of the body.
    """

    def __init__(self, read: ReadBytes, address: int) -> None:
        """Raises OtherLayoutError where the header has another version, unknown messages or wrong sizes."""
        self.read = read
        self.template = Template()
        self.found: dict[int, tuple[int, int, int]] = {}
        version, count, _, size = _PREFIX.unpack(read(address, _PREFIX.size))
        require(version == 1)
        self.add(None, address, _PREFIX.size + size).fix(0, _PREFIX.size)
        require(self._walk() == count)

    def add(self, pointer: tuple[int, int] | None, address: int, size: int) -> Piece:
        """Adds the piece that `pointer` leads to."""
        pieces = self.template.pieces
        require(len(pieces) < _MAX_PIECES and 0 < size <= _MAX_PIECE_BYTES)
        pieces.append(Piece(pointer, self.read(address, size), bytearray(size)))
        return pieces[-1]

    def body(self, kind: int) -> bytes:
        """Returns the body of the message of a type that was found."""
        piece, start, size = self.found[kind]
        return self.template.pieces[piece].example[start : start + size]

    def fix(self, kind: int, start: int, size: int) -> None:
        """Notes that `size` bytes from `start` on in a message's body decide how the object is to be read."""
        piece, body, _ = self.found[kind]
        self.template.pieces[piece].fix(body + start, size)

    def _walk(self) -> int:
        """Goes through all messages and returns how many there are."""
        count, start = 0, _PREFIX.size
        for number, piece in enumerate(self.template.pieces):  # grows by the continuations that are met
            while start < len(piece.example):
                require(len(piece.example) - start >= _MESSAGE.size)
                kind, size, flags = _MESSAGE.unpack_from(piece.example, start)
                piece.fix(start, _MESSAGE.size)
                body = start + _MESSAGE.size
                start = body + size
                require(flags in _PLAIN_FLAGS and size % _ALIGNMENT == 0 and start <= len(piece.example))
                self._note(kind, (number, body, size))
                count += 1
            start = 0
        return count

    def _note(self, kind: int, place: tuple[int, int, int]) -> None:
        if kind in _WITHOUT_MEANING_HERE:
            return
        require(kind not in self.found)
        if kind != _CONTINUATION:
            self.found[kind] = place
            return
        number, body, size = place
        require(size >= ADDRESSES.size)
        piece = self.template.pieces[number]
        piece.fix(body + 8, 8)
        self.add((number, body), *ADDRESSES.unpack_from(piece.example, body))
