"""The index of a TFRecord file: offset and size of each record in bytes, one record per line.

Sizes include the framing. NVIDIA DALI's `tfrecord2idx` writes this format; its `fn.readers.tfrecord` and the `tfrecord`
package for PyTorch read it. The index of `svhn-train.tfrecord-00000-of-00064` is `svhn-train.idx-00000-of-00064`, so
that a pattern for shards does not match it.
"""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.files.framing import FRAMING_BYTES

_TFRECORD = re.compile(r"\.tfrecords?(?=$|[.-])")


def index_path(shard: str) -> str:
    """Returns the path of a TFRecord file's index: `.idx` replaces `.tfrecord` in the name, or is appended."""
    folder, slash, name = shard.rpartition("/")
    index, found = _TFRECORD.subn(".idx", name, count=1)
    return folder + slash + (index if found else f"{name}.idx")


def format_index(sizes: Iterable[int]) -> bytes:
    """Returns the index of a file with consecutive records of these sizes, framing included."""
    lines, offset = [], 0
    for size in sizes:
        lines.append(f"{offset} {size}\n")
        offset += size
    return "".join(lines).encode()


def parse_index(data: bytes, name: str) -> NDArray[np.int64]:
    """Returns the start of each record, and the end of the last one: (records + 1,) int64, bytes.

    Args:
      data: Content of the index file.
      name: Name of the index file in error messages.

    Raises:
      UserError: The content is no index, or its records do not follow each other from the first byte of the file.
    """
    try:
        table = np.array(data.split(), np.int64).reshape(-1, 2)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name}: an index must have two numbers per line, offset and size.", error) from error
    starts = np.append(np.int64(0), table.sum(axis=1))
    # The last comparison is for sums beyond 64 bits, which become negative.
    out_of_place = (table[:, 0] != starts[:-1]) | (table[:, 1] < FRAMING_BYTES) | (starts[1:] < starts[:-1])
    wrong = np.flatnonzero(out_of_place)
    if wrong.size:
        line = int(wrong[0])
        rule = f"{name}: line {line + 1} must begin where the record before it ends, at {starts[line]}."
        raise UserError(rule, " ".join(map(str, table[line])))
    return starts
