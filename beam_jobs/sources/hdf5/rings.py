"""Finds HDF5 files with links in a ring, which HDF5's own library would follow until it fails.

The library follows a local heap's list of free blocks link by link and allocates memory for each. If damage has made
the list a ring, it does so until the memory is full, which takes a minute. It descends a group's B-tree from call to
call. If a node leads to one that is not below it, the calls end only when the stack is full, which ends the process.
Nothing can interrupt the library, so such files are found before it opens them.

The layouts are those of the HDF5 File Format Specification, version 3.0, III.A.1 "Disk Format: Level 1A1 - Version 1
B-trees" and III.D "Disk Format: Level 1D - Local Heaps".
"""

import mmap
import re
import struct
from pathlib import Path

_HEAP = re.compile(rb"HEAP\0\0\0\0(.{24})", re.DOTALL)
"""Signature, version 0 and three reserved bytes; then data size, offset of the first free block, data address."""
_TREE = re.compile(rb"TREE\0[^\0]")
"""Signature, type 0 (of groups) and level of a node above others."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 16
"""Bytes of a superblock up to the sizes of addresses and lengths (II.A)."""
_MAX_USER_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 32
_TREE_HEADER = struct.Struct("<4sBBH")
"""Signature, type, level and number of children of a node."""
_FIRST_CHILD, _CHILD_BYTES = 32, 16
"""Offset of the address of a node's first child, bytes; bytes from one child's address to the next."""
_CHUNK_BYTES = 1 << 24
_LINK = struct.Struct("<Q")
_LAST = 1
_MIN_BLOCK_BYTES = 16
"""Size of the smallest free block: the offset of the next block and its own size."""


def find_ring(path: Path) -> tuple[str, int] | None:
    """Returns what forms a ring in a file, and its offset, bytes; None if there is no ring.

    It is a local heap's free blocks, "heap", or a group's B-tree, "tree".
    """
    base = _base(path)
    if base is None:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), _CHUNK_BYTES):
            stop = start + _CHUNK_BYTES + _HEADER_BYTES - 1
            for heap in _HEAP.finditer(data, start, stop):
                if _is_endless(data, heap[1], base):
                    return "heap", heap.start()
            for tree in _TREE.finditer(data, start, stop):
                if not _descends(data, tree.start(), base):
                    return "tree", tree.start()
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


def _descends(data: mmap.mmap, start: int, base: int) -> bool:
    """Returns whether all nodes to which a group's B-tree leads are of a lower level, or are none.

    Args:
      data: Bytes of the file.
      start: Offset of the node in the file, bytes.
      base: Offset in the file from which its addresses count, bytes.
    """
    if start + _FIRST_CHILD > len(data):
        return True
    signature, kind, level, children = _TREE_HEADER.unpack_from(data, start)
    for place in range(start + _FIRST_CHILD, start + _FIRST_CHILD + children * _CHILD_BYTES, _CHILD_BYTES):
        if place + _LINK.size > len(data):
            return True
        child = base + _LINK.unpack_from(data, place)[0]
        if child + _TREE_HEADER.size <= len(data):
            below = _TREE_HEADER.unpack_from(data, child)
            if below[:2] == (signature, kind) and below[2] >= level:
                return False
    return True
