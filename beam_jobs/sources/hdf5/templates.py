"""Templates of the HDF5 objects that digitStruct.mat is made of: compact datasets, and groups of datasets.

Datasets hold IEEE doubles, 16-bit codes or object references, little endian; groups keep
their names in one symbol table node: so MATLAB 7.3 writes them. Anything else is refused, for
HDF5's own library to read. Facts are from the HDF5 File Format Specification 3.0, sections III.A
(B-trees, symbol table nodes, local heaps) and IV.A.2 (dataspace, datatype, data layout)
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
"""Datatype messages, whole, so that no other sign, byte order, padding or precision passes: kind, bytes a value."""
_COMPACT = (3, 0)  # version and class of the storage
_MAX_RANK = 8
_TREE = struct.Struct("<4sBBHQQQQQ")  # signature, type, level, entries, left, right, first key, child, last key
_LEAF_OF_GROUP = (b"TREE", 0, 0, 1)
_HEAP = struct.Struct("<4sB3xQQQ")  # signature, version, bytes of data, first free byte, address of the data
_NODE = struct.Struct("<4sBxH")  # signature, version, entries
_ENTRY = struct.Struct("<QQI20x")  # the name's place in the heap, address of the object, kind of what is cached
_MAX_ENTRIES = 64
_MAX_HEAP_BYTES = 4096


def dataset_template(read: ReadBytes, address: int) -> Template:
    """Makes the template of the compact dataset at a file address.

    Raises:
      OtherLayoutError: it is no such dataset.
    """
    walk = HeaderWalk(read, address)
    require(set(walk.found) == {DATASPACE, DATATYPE, STORAGE})
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


def _count_values(walk: HeaderWalk) -> int:
    """Returns the number of values in a version 1 dataspace."""
    space = walk.body(DATASPACE)
    require(len(space) >= 8)
    version, rank, has_maximum = struct.unpack_from("<BBB", space)
    used = 8 + 8 * rank * (1 + has_maximum)
    require(version == 1 and rank <= _MAX_RANK and has_maximum in (0, 1) and used <= len(space))
    walk.fix(DATASPACE, 0, used)
    sizes = struct.unpack_from(f"<{rank}Q", space, 8)
    maxima = struct.unpack_from(f"<{rank}Q", space, 8 + 8 * rank) if has_maximum else sizes
    require(all(size <= maximum for size, maximum in zip(sizes, maxima, strict=True)))
    return math.prod(sizes)


def group_template(read: ReadBytes, address: int, names: Sequence[str]) -> Template:
    """Makes the template of the group at a file address; its values are the addresses of its datasets `names`.

    Raises:
      OtherLayoutError: it is no group of one node, or a name is missing.
    """
    walk = HeaderWalk(read, address)
    require(set(walk.found) == {SYMBOL_TABLE} and len(walk.body(SYMBOL_TABLE)) >= ADDRESSES.size)
    header, start, _ = walk.found[SYMBOL_TABLE]
    tree_at, heap_at = ADDRESSES.unpack_from(walk.body(SYMBOL_TABLE))
    node_at, keys = _add_tree(walk, (header, start), tree_at)
    node_pointer = (len(walk.template.pieces) - 1, 32)
    heap = _add_heap(walk, (header, start + 8), heap_at)
    found = _add_node(walk, node_pointer, node_at)
    present = [_name_at(walk, heap, place) for place in found]
    first, last = (_name_at(walk, heap, key) for key in keys)
    # As HDF5's search expects them: otherwise it may find another entry than this, or none.
    require(all(a < b for a, b in pairwise([first, *present])) and last == present[-1])
    places = dict(zip(present, found.values(), strict=True))
    require(all(name.encode() in places for name in names))
    walk.template.values += [places[name.encode()] for name in names]
    return walk.template


def _add_tree(walk: HeaderWalk, pointer: tuple[int, int], address: int) -> tuple[int, tuple[int, int]]:
    """Returns the address of the only child of the group's B-tree, and the keys on its sides."""
    piece = walk.add(pointer, address, _TREE.size)
    *head, _, _, first, child, last = _TREE.unpack(piece.example)
    require(tuple(head) == _LEAF_OF_GROUP)
    piece.fix(0, 8)
    piece.fix(24, 8)
    piece.fix(40, 8)
    return child, (first, last)


def _add_heap(walk: HeaderWalk, pointer: tuple[int, int], address: int) -> int:
    """Returns the number of the piece with the names."""
    piece = walk.add(pointer, address, _HEAP.size)
    signature, version, size, _, data_at = _HEAP.unpack(piece.example)
    require((signature, version) == (b"HEAP", 0) and size <= _MAX_HEAP_BYTES)
    piece.fix(0, 16)
    number = len(walk.template.pieces)
    walk.add((number - 1, 24), data_at, size)
    return number


def _name_at(walk: HeaderWalk, heap: int, place: int) -> bytes:
    piece = walk.template.pieces[heap]
    end = piece.example.find(b"\0", place) if place < len(piece.example) else -1
    require(end >= 0)
    piece.fix(place, end + 1 - place)
    return piece.example[place:end]


def _add_node(walk: HeaderWalk, pointer: tuple[int, int], address: int) -> dict[int, tuple[int, int, int]]:
    """Returns for each entry of the symbol table node its name's place in the heap, and where its address is."""
    number = len(walk.template.pieces)
    signature, version, count = _NODE.unpack(walk.read(address, _NODE.size))
    require((signature, version) == (b"SNOD", 1) and 0 < count <= _MAX_ENTRIES)
    piece = walk.add(pointer, address, _NODE.size + count * _ENTRY.size)
    piece.fix(0, _NODE.size)
    found = {}
    for start in range(_NODE.size, len(piece.example), _ENTRY.size):
        name, _, cached = _ENTRY.unpack_from(piece.example, start)
        require(cached == 0 and name not in found)  # others: a group, or a link to another name
        piece.fix(start, 8)
        piece.fix(start + 16, 4)
        found[name] = (number, start + 8, 8)
    return found
