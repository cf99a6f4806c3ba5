"""Templates of the HDF5 objects in files of MATLAB 7.3: compact datasets, and groups of datasets.

Datasets hold IEEE doubles, 16-bit codes or object references, little endian. Groups have their names in one symbol
table node. Every other layout is left to HDF5's own library.

The layouts are those of the HDF5 File Format Specification 3.0, sections III.A (B-trees, symbol table nodes, local
heaps) and IV.A.2 (dataspace, datatype, data layout)
(https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html).
"""

import math
import struct
from collections.abc import Sequence
from itertools import pairwise

from beam_jobs.sources.hdf5.header import (
    ADDRESSES,
    DATASPACE,
    DATATYPE,
    REFERENCE,
    STORAGE,
    SYMBOL_TABLE,
    HeaderWalk,
    ReadBytes,
    Template,
    require,
)

_TYPES = {
    bytes.fromhex("11203f00 08000000 00004000 340b0034 ff030000"): ("<f8", 8),
    bytes.fromhex("10000000 02000000 00001000"): ("<u2", 2),
    bytes.fromhex("17000000 08000000"): (REFERENCE, 8),
}
"""Kind and bytes per value by complete datatype message: no other sign, byte order, padding or precision passes."""
_EMPTY = b"MATLAB_empty"
_WORD = 8  # bytes
_COMPACT = (3, 0)  # version and class of the storage
_MAX_RANK = 8
_TREE = struct.Struct("<4sBBHQQQQQ")  # signature, type, level, entries, left, right, first key, child, last key
_LEAF_OF_GROUP = (b"TREE", 0, 0, 1)
_HEAP = struct.Struct("<4sB3xQQQ")  # signature, version, bytes of data, first free byte, address of the data
_NODE = struct.Struct("<4sBxH")  # signature, version, entries
_ENTRY = struct.Struct("<QQI20x")  # offset of the name in the heap, address of the object, type of the cached data
_MAX_ENTRIES = 64
_MAX_HEAP_BYTES = 4096


def dataset_template(read: ReadBytes, address: int) -> Template:
    """Returns the template of the compact dataset at a file address.

    Args:
      read: Function that reads bytes of the file.
      address: File address of the dataset.

    Raises:
      OtherLayoutError: The object is not a compact dataset of a known type.
    """
    walk = HeaderWalk(read, address)
    require(set(walk.found) == {DATASPACE, DATATYPE, STORAGE})
    _require_not_empty(walk)
    count = _count_values(walk)
    known = [(code, *kind) for code, kind in _TYPES.items() if walk.body(DATATYPE).startswith(code)]
    require(len(known) == 1)
    code, walk.template.kind, item_bytes = known[0]
    walk.fix(DATATYPE, 0, len(code))
    storage = walk.body(STORAGE)
    require(len(storage) >= 4)
    *layout, stored = struct.unpack_from("<BBH", storage)
    require(tuple(layout) == _COMPACT and 0 < stored == count * item_bytes <= len(storage) - 4)
    walk.fix(STORAGE, 0, 4)
    piece, start, _ = walk.found[STORAGE]
    walk.template.values.append((piece, start + 4, stored))
    return walk.template


def _require_not_empty(walk: HeaderWalk) -> None:
    """Checks that no attribute is `MATLAB_empty`: its dataset holds the dimensions of an empty array, not values."""
    for piece, start, size in walk.attributes:
        require(size >= 2 * _WORD)
        word = walk.template.pieces[piece].example[start + _WORD : start + 2 * _WORD]
        # The name starts at byte 8 in messages of version 1 and 2, at byte 9 in version 3. A check of this word alone
        # excludes it in all three, and costs less time than one of the whole name.
        require(word != _EMPTY[:_WORD] and word[1:] != _EMPTY[: _WORD - 1])
        walk.template.pieces[piece].fix(start + _WORD, _WORD)


def _count_values(walk: HeaderWalk) -> int:
    """Returns the number of values in a version 1 dataspace of at most one dimension above 1."""
    space = walk.body(DATASPACE)
    require(len(space) >= 8)
    version, rank, has_maximum = struct.unpack_from("<BBB", space)
    used = 8 + 8 * rank * (1 + has_maximum)
    require(version == 1 and rank <= _MAX_RANK and has_maximum in (0, 1) and used <= len(space))
    walk.fix(DATASPACE, 0, used)
    sizes = struct.unpack_from(f"<{rank}Q", space, 8)
    maxima = struct.unpack_from(f"<{rank}Q", space, 8 + 8 * rank) if has_maximum else sizes
    require(all(size <= maximum for size, maximum in zip(sizes, maxima, strict=True)))
    require(math.prod(sizes) == max(sizes, default=1))  # a scalar, a row or a column
    return math.prod(sizes)


def group_template(read: ReadBytes, address: int, names: Sequence[str]) -> Template:
    """Returns the template of the group at a file address; its values are the addresses of its datasets `names`.

    Args:
      read: Function that reads bytes of the file.
      address: File address of the group.
      names: Names of the datasets, in the order of the values.

    Raises:
      OtherLayoutError: The object is not a group of one symbol table node, or a name is missing.
    """
    walk = HeaderWalk(read, address)
    require(set(walk.found) == {SYMBOL_TABLE} and len(walk.body(SYMBOL_TABLE)) >= ADDRESSES.size)
    header, start, _ = walk.found[SYMBOL_TABLE]
    tree_at, heap_at = ADDRESSES.unpack_from(walk.body(SYMBOL_TABLE))
    node_at, keys = _add_tree(walk, (header, start), tree_at)
    node_pointer = (len(walk.template.pieces) - 1, 32)
    heap = _add_heap(walk, (header, start + 8), heap_at)
    found = _add_node(walk, node_pointer, node_at)
    present = [_name_at(walk, heap, offset) for offset in found]
    first, last = (_name_at(walk, heap, key) for key in keys)
    # Sorted, as HDF5's search expects them: otherwise it may find another entry, or none.
    require(all(a < b for a, b in pairwise([first, *present])) and last == present[-1])
    locations = dict(zip(present, found.values(), strict=True))
    require(all(name.encode() in locations for name in names))
    walk.template.values += [locations[name.encode()] for name in names]
    return walk.template


def _add_tree(walk: HeaderWalk, pointer: tuple[int, int], address: int) -> tuple[int, tuple[int, int]]:
    """Returns the address of the only child of the group's B-tree, and the keys before and after it."""
    piece = walk.add(pointer, address, _TREE.size)
    *head, _, _, first, child, last = _TREE.unpack(piece.example)
    require(tuple(head) == _LEAF_OF_GROUP)
    piece.fix(0, 8)
    piece.fix(24, 8)
    piece.fix(40, 8)
    return child, (first, last)


def _add_heap(walk: HeaderWalk, pointer: tuple[int, int], address: int) -> int:
    """Returns the index of the piece with the names."""
    piece = walk.add(pointer, address, _HEAP.size)
    signature, version, size, _, data_at = _HEAP.unpack(piece.example)
    require((signature, version) == (b"HEAP", 0) and size <= _MAX_HEAP_BYTES)
    piece.fix(0, 16)
    index = len(walk.template.pieces)
    walk.add((index - 1, 24), data_at, size)
    return index


def _name_at(walk: HeaderWalk, heap: int, offset: int) -> bytes:
    """Returns the name at an offset in the piece with the names."""
    piece = walk.template.pieces[heap]
    end = piece.example.find(b"\0", offset) if offset < len(piece.example) else -1
    require(end >= 0)
    piece.fix(offset, end + 1 - offset)
    return piece.example[offset:end]


def _add_node(walk: HeaderWalk, pointer: tuple[int, int], address: int) -> dict[int, tuple[int, int, int]]:
    """Returns where the address of each entry of the symbol table node is, by the offset of the entry's name."""
    index = len(walk.template.pieces)
    signature, version, count = _NODE.unpack(walk.read(address, _NODE.size))
    require((signature, version) == (b"SNOD", 1) and 0 < count <= _MAX_ENTRIES)
    piece = walk.add(pointer, address, _NODE.size + count * _ENTRY.size)
    piece.fix(0, _NODE.size)
    found = {}
    for start in range(_NODE.size, len(piece.example), _ENTRY.size):
        name, _, cached = _ENTRY.unpack_from(piece.example, start)
        require(cached == 0 and name not in found)  # otherwise a group, or a link to another name
        piece.fix(start, 8)
        piece.fix(start + 16, 4)
        found[name] = (index, start + 8, 8)
    return found
