"""Examples as WebDataset shards: tar files with a PNG file and a JSON file per example; of scenes also JPEG files."""

import io
import json
import tarfile
from collections.abc import Iterable
from typing import BinaryIO
from urllib.parse import quote

import numpy as np

from tfrecords.record.codec import png_bytes
from tfrecords.record.scene import SceneExample, picture_file
from tfrecords.record.schema import DigitExample


def sample_name(key: str) -> str:
    """Returns the name of an example's files without the suffix: `train%2F123%2Epng%232` for `train/123.png#2`.

    WebDataset treats everything after the first dot as the suffix. So all characters except ASCII letters, digits, `-`,
    `_` and `~` are percent-encoded; `urllib.parse.unquote` returns the key.
    """
    return quote(key, safe="").replace(".", "%2E")


def write_tar(examples: Iterable[DigitExample | SceneExample], stream: BinaryIO) -> int:
    """Writes examples as one WebDataset shard and returns their number.

    NAME.png holds the image of an example, without loss; NAME.json holds the other attributes of `DigitExample` and the
    text. Times and owners are 0. Headers are in the ustar format, or in POSIX's pax format for names that are too long
    for ustar. So the same examples give the same bytes. Of a scene, NAME.jpg or NAME.png is its picture, and NAME.json
    holds the attributes of `SceneExample`.
    """
    count = 0
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for example in examples:
            name = sample_name(example.key)
            if isinstance(example, SceneExample):
                data, suffix = picture_file(example)
            else:
                data, suffix = png_bytes(example.image), ".png"
            _add(archive, name + suffix, data)
            _add(archive, f"{name}.json", labels_json(example))
            # TarFile keeps every member in memory.
            archive.getmembers().clear()
            count += 1
    return count


def labels_json(example: DigitExample | SceneExample) -> bytes:
    """Returns all attributes except the image, and the text, as JSON with lists for arrays."""
    labels = {name: value for name, value in example.to_dict().items() if name != "image"}
    return json.dumps(labels, default=np.ndarray.tolist, sort_keys=True).encode()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
