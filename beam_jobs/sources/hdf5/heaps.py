"""Finds HDF5 files that HDF5's own library would never finish reading.

The library follows a local heap's list of free blocks link by link and allocates memory for each. If damage has made
the list a ring, it does so until the memory is full, which takes a minute. Nothing can interrupt the library, so such
files are found before it opens them.

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
"""Bytes of a superblock up to the sizes of addresses and lengths (II.A)."""
_MAX_USER_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 32
_CHUNK_BYTES = 1 << 24
_LINK = struct.Struct("<Q")
_LAST = 1
_MIN_BLOCK_BYTES = 16
"""Size of the smallest free block: the offset of the next block and its own size."""


def find_endless_heap(path: Path) -> int | None:
    """Returns the offset in a file, bytes, of a local heap whose free blocks form a ring; None if there is none."""
    base = _base(path)
    if base is None:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), _CHUNK_BYTES):
            for heap in _HEAP.finditer(data, start, start + _CHUNK_BYTES + _HEADER_BYTES - 1):
                if _is_endless(data, heap[1], base):
                    return heap.start()
            if hasattr(data, "madvise"):
                # Otherwise all of the file would count as memory of this process.
                data.madvise(mmap.MADV_DONTNEED)
    return None


def _base(path: Path) -> int | None:
    """Returns the offset from which a file's addresses count: the size of its user block.

    None if the file is not HDF5 or has no 8-byte addresses.
    """
    with path.open("rb") as stream:
        head = stream.read(_MAX_USER_BLOCK_BYTES + _SUPERBLOCK_BYTES)
    for base in (0, *(1 << power for power in range(9, _MAX_USER_BLOCK_BYTES.bit_length()))):
        superblock = head[base : base + _SUPERBLOCK_BYTES]
        if superblock[:8] == _SIGNATURE and len(superblock) == _SUPERBLOCK_BYTES:
            sizes = superblock[13:15] if superblock[8] < 2 else superblock[9:11]
            return base if sizes == b"\x08\x08" else None
    return None


def _is_endless(data: mmap.mmap, header: bytes, base: int) -> bool:
    """Returns whether the free blocks of a local heap form a ring.

    Args:
      data: Bytes of the file.
      header: Bytes of the heap's header after the signature, version and reserved bytes.
      base: Offset in the file from which its addresses count, bytes.
    """
    size, block, start = struct.unpack("<QQQ", header)
    start += base
    for _ in range(min(size, len(data)) // _MIN_BLOCK_BYTES + 1):
        # The library itself refuses a block outside the heap.
        if block == _LAST or block + _MIN_BLOCK_BYTES > size or start + block + _LINK.size > len(data):
            return False
        (block,) = _LINK.unpack_from(data, start + block)
    return True
