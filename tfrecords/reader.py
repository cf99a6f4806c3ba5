"""Shards to examples, in order, without TensorFlow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfrecords.codec import decode
from tfrecords.errors import UserError
from tfrecords.framing import Record, read_frames
from tfrecords.manifest import Manifest, SplitInfo
from tfrecords.schema import DigitExample


@dataclass(frozen=True)
class SplitReader:
    """One split of a dataset directory; each iteration reads its examples once, in stored order.

    Attributes:
      directory: of the dataset.
      info: the split, from the manifest.
      verify: check each record's checksum.
    """

    directory: Path
    info: SplitInfo
    verify: bool = True

    def __len__(self) -> int:
        return self.info.examples

    def __iter__(self) -> Iterator[DigitExample]:
        for shard in self.info.shards:
            path = self.directory / shard.file
            count = 0
            for record in read_records(path, self.verify):
                yield decode(record.data, f"{path}: record {record.number} at byte {record.offset}")
                count += 1
            if count != shard.examples:
                raise UserError(f"{path}: the manifest states {shard.examples} examples.", count)


def open_split(directory: Path | str, split: str, verify: bool = True) -> SplitReader:
    """Opens one split of a dataset directory for reading.

    Raises:
      UserError: not a dataset directory, or it has no such split.
    """
    directory = Path(directory)
    return SplitReader(directory, Manifest.load(directory).split(split), verify)


def read_records(path: Path, verify: bool = True) -> Iterator[Record]:
    """Yields the serialized records of any uncompressed TFRecord file.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such shard.") from error
    with stream:
        yield from read_frames(stream, str(path), verify)
