"""Examples as WebDataset shards: tar files with a PNG file and a JSON file an example."""

import io
import json
import tarfile
from collections.abc import Iterable
from typing import BinaryIO
from urllib.parse import quote

import numpy as np

from tfrecords.record.codec import png_bytes
from tfrecords.record.schema import DigitExample


def sample_name(key: str) -> str:
    """Returns the name of a key's files, without their suffix: `train%2F123%2Epng%232` for `train/123.png#2`.

    WebDataset takes all behind a name's first dot for the suffix. So every character but ASCII letters, digits, `-`,
    `_` and `~` is percent-encoded; `urllib.parse.unquote` returns the key.
    """
    return quote(key, safe="").replace(".", "%2E")


def write_tar(examples: Iterable[DigitExample], stream: BinaryIO) -> int:
    """Writes examples as one WebDataset shard and returns how many they were.

    Of each example NAME.png is the picture, without loss, and NAME.json the other attributes of `DigitExample` and its
    text. Times and owners are 0 and headers ustar's (POSIX's own, pax, for names that ustar has no room for), so that
    the same examples make the same bytes.
    """
    count = 0
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for example in examples:
            name = sample_name(example.key)
            _add(archive, f"{name}.png", png_bytes(example.image))
            _add(archive, f"{name}.json", labels_json(example))
            # A tar file remembers every member that it wrote.
            archive.getmembers().clear()
            count += 1
    return count


def labels_json(example: DigitExample) -> bytes:
    """Returns all attributes but the picture, and the text, as JSON; an array as lists."""
    labels = {name: value for name, value in example.to_dict().items() if name != "image"}
    return json.dumps(labels, default=np.ndarray.tolist, sort_keys=True).encode()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
