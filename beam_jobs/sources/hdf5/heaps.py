"""HDF5 files on which HDF5's own library would never come to an end.

It reads a local heap's list of free blocks link by link, allocating as it goes, and does not notice
when damage has made a ring of it: a minute later the memory is full. Nothing can stop a library that
does not return, so such files are found before it sees them.

The layout is that of the HDF5 File Format Specification, version 3.0, III.D "Disk Format: Level 1D - Local Heaps".
"""

import mmap
import re
import struct
from pathlib import Path

_HEAP = re.compile(rb"HEAP\0\0\0\0(.{24})", re.DOTALL)
"""Signature, version 0 and three reserved bytes; then data size, offset of the first free block, data address."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 16
"""As far as the sizes of addresses and lengths (II.A)."""
_LONGEST_USER_BLOCK = 1 << 20
_HEADER_BYTES = 32
_PIECE_BYTES = 1 << 24
_LINK = struct.Struct("<Q")
_LAST = 1
_SMALLEST_BLOCK = 16
"""Bytes: a free block holds the offset of the next and its own size."""


def find_endless_heap(path: Path) -> int | None:
    """Returns where in a file a local heap stands whose free blocks form a ring, or None: its place in bytes."""
    base = _base(path)
    if base is None:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), _PIECE_BYTES):
            for heap in _HEAP.finditer(data, start, start + _PIECE_BYTES + _HEADER_BYTES - 1):
                if _is_endless(data, heap[1], base):
                    return heap.start()
            if hasattr(data, "madvise"):
                # What was looked through would else count as this process's memory: all of the file.
                data.madvise(mmap.MADV_DONTNEED)
    return None


def _base(path: Path) -> int | None:
    """Returns what a file's addresses count from, its user block's size; None of one without addresses of 8 bytes."""
    with path.open("rb") as stream:
        head = stream.read(_LONGEST_USER_BLOCK + _SUPERBLOCK_BYTES)
    for base in (0, *(1 << power for power in range(9, _LONGEST_USER_BLOCK.bit_length()))):
        superblock = head[base : base + _SUPERBLOCK_BYTES]
        if superblock[:8] == _SIGNATURE and len(superblock) == _SUPERBLOCK_BYTES:
            sizes = superblock[13:15] if superblock[8] < 2 else superblock[9:11]
            return base if sizes == b"\x08\x08" else None
    return None


def _is_endless(data: mmap.mmap, header: bytes, base: int) -> bool:
    size, block, start = struct.unpack("<QQQ", header)
    start += base
    for _ in range(min(size, len(data)) // _SMALLEST_BLOCK + 1):
        # What lies outside, the library refuses itself.
        if block == _LAST or block + _SMALLEST_BLOCK > size or start + block + _LINK.size > len(data):
            return False
        (block,) = _LINK.unpack_from(data, start + block)
    return True
