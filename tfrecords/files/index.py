"""Where each record stands in its file: an index beside it, a line a record, offset and size in bytes.

Sizes count the framing. That is what NVIDIA DALI's `tfrecord2idx` writes and its `fn.readers.tfrecord` reads, and
the `tfrecord` package for PyTorch. The index of `svhn-train.tfrecord-00000-of-00064` is
`svhn-train.idx-00000-of-00064`: a pattern that finds shards must not find it.
"""

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.files.framing import FRAMING_BYTES

_TFRECORD = re.compile(r"\.tfrecords?(?=$|[.-])")


def index_path(shard: str) -> str:
    """Returns the path of any TFRecord file's index: `.tfrecord` in its name becomes `.idx`, which else is added."""
    folder, slash, name = shard.rpartition("/")
    index, found = _TFRECORD.subn(".idx", name, count=1)
    return folder + slash + (index if found else f"{name}.idx")


def format_index(sizes: Iterable[int]) -> bytes:
    """Returns the index of a file of records of these sizes, framing included, one behind the other."""
    lines, offset = [], 0
    for size in sizes:
        lines.append(f"{offset} {size}\n")
        offset += size
    return "".join(lines).encode()


def parse_index(data: bytes, name: str) -> NDArray[np.int64]:
    """Returns where each record starts, and at the end where the last one stops: (records + 1,) int64, bytes.

    Args:
      data: of the index file.
      name: what errors call it.

    Raises:
      UserError: it is no index of a whole file: records must lie one behind the other from its first byte on.
    """
    try:
        numbers = np.array(data.split(), np.int64).reshape(-1, 2)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name}: an index must have two numbers a line, offset and size.", error) from error
    starts = np.append(np.int64(0), numbers.sum(axis=1))
    wrong = np.flatnonzero((numbers[:, 0] != starts[:-1]) | (numbers[:, 1] < FRAMING_BYTES))
    if wrong.size:
        line = int(wrong[0])
        rule = f"{name}: line {line + 1} must begin where the record before it ends, at {starts[line]}."
        raise UserError(rule, " ".join(map(str, numbers[line])))
    return starts
