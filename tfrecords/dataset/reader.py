"""A split's examples as a sequence: any of them at once, in stored order, without TensorFlow."""

import hashlib
import logging
import operator
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, overload

from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.framing import Record, read_frames
from tfrecords.files.record_file import RecordFile, cut_error, open_shard
from tfrecords.files.storage import join
from tfrecords.record.codec import decode_with_protobuf
from tfrecords.record.collate import NAMES, Batch, check_names, stack, stack_by_layout
from tfrecords.record.fast_decode import OtherwiseError, decode_by_layout
from tfrecords.record.schema import DigitExample

OnError = Literal["raise", "skip"]
_OPEN_FILES = 500
"""At once: many systems allow a process 1,024."""
_log = logging.getLogger(__name__)


class Examples(Sequence[DigitExample]):
    """The examples of one split, in stored order: `len`, index, slice and iteration.

    A slice is such a sequence again, and reads nothing. Files are opened when an example of theirs is first asked
    for. Copies for other processes (pickled or forked) open their own.

    Attributes:
      directory: of the dataset.
      split: its name.
      manifest: of the dataset.
      skipped: how many damaged examples iterations have passed over so far; with `on_error="skip"` only.
    """

    def __init__(self, directory: str, manifest: Manifest, split: str, verify: bool, on_error: OnError) -> None:
        """See `open`."""
        self.directory, self.manifest, self.split, self.skipped = directory, manifest, split, 0
        self._verify, self._on_error = verify, on_error
        self._shards = manifest.split(split).shards
        self._starts = [0, *accumulate(shard.examples for shard in self._shards)]
        self._numbers = range(self._starts[-1])
        self._files: dict[int, RecordFile | UserError] = {}

    @property
    def identity(self) -> str:
        """Which examples these are, the same in every process and wherever the dataset lies.

        That is the dataset's name, the split, which of its examples in what order, and a digest of its shards' digests.
        """
        digest = hashlib.sha256("\n".join(shard.sha256 for shard in self._shards).encode()).hexdigest()[:16]
        numbers = self._numbers
        return f"{self.manifest.name}, {self.split}[{numbers.start}:{numbers.stop}:{numbers.step}], {digest}"

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> DigitExample: ...
    @overload
    def __getitem__(self, index: slice) -> "Examples": ...
    def __getitem__(self, index: int | slice) -> "DigitExample | Examples":
        """Returns one example, its arrays read-only, or a part of the sequence.

        Raises:
          IndexError: there is none of this number.
          UserError: the file or the record is damaged; also with `on_error="skip"`.
        """
        if isinstance(index, slice):
            part = Examples(self.directory, self.manifest, self.split, self._verify, self._on_error)
            part._numbers = self._numbers[index]
            return part
        return self._read(self._numbers[operator.index(index)])

    def __iter__(self) -> Iterator[DigitExample]:
        told = ""
        for number in self._numbers:
            try:
                example = self._read(number)
            except UserError as error:
                if self._on_error == "raise":
                    raise
                self.skipped += 1
                # Of a whole file once, not for each of its records.
                if told != str(error):
                    told = str(error)
                    _log.warning("skipped: %s", told)
                continue
            yield example

    def batch(self, numbers: Sequence[int], names: Sequence[str] = NAMES) -> Batch:
        """Returns several examples as one array an attribute, faster than one by one.

        Args:
          numbers: of the examples, in the arrays' order; at least one.
          names: of the arrays: attributes of `DigitExample`, and `text`. Fewer are read faster.

        Raises:
          IndexError: there is no example of one of these numbers.
          UserError: a file or a record is damaged, also with `on_error="skip"`; pictures are of several sizes; no
            number is given; no attribute is called so.
        """
        check_names(names)
        own = [self._numbers[number] for number in numbers]
        if not own:
            raise UserError("A batch must hold at least one example.", 0)
        try:
            return stack_by_layout((self.record(number)[0] for number in own), len(own), names)
        except OtherwiseError:
            return stack([self._read(number) for number in own], names)

    def _read(self, number: int) -> DigitExample:
        data, file, place = self.record(number)
        # As `decode` does, without making up what an error would say.
        return decode_by_layout(data) or decode_with_protobuf(data, file.place(place))

    def record(self, number: int) -> tuple[bytes, RecordFile, int]:
        """Returns a record of the split, its file, and its number there.

        Raises:
          UserError: the file or the record is damaged.
        """
        shard = bisect_right(self._starts, number) - 1
        file = self.file(shard)
        number -= self._starts[shard]
        if number >= len(file):
            raise (file.damage or cut_error(file, self._shards[shard])).with_traceback(None)
        return file.read(number), file, number

    def file(self, shard: int) -> RecordFile:
        """Returns the records of the split's shard of this number.

        Raises:
          UserError: it is missing, or not the one that the manifest describes.
        """
        file = self._files.get(shard)
        if file is None:
            file = self._open(shard)
        if isinstance(file, UserError):
            raise file.with_traceback(None)
        return file

    def _open(self, shard: int) -> RecordFile | UserError:
        file: RecordFile | UserError
        try:
            file = open_shard(self.directory, self._shards[shard], self._verify)
        except UserError as error:
            file = error
        self._files[shard] = file
        # Other threads may be doing the same.
        for oldest in list(self._files)[:-_OPEN_FILES]:
            self._files.pop(oldest, None)
        return file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}


def open(
    directory: Path | str,
    split: str,
    *,
    manifest: Manifest | None = None,
    verify: bool = True,
    on_error: OnError = "raise",
) -> Examples:
    """Opens one split of a dataset directory.

        examples = tfrecords.open("svhn-records", "train")
        print(len(examples), examples[7].text, examples[-1].image.shape)

    Args:
      directory: that `prepare` made; local, or a URL that fsspec knows, as `gs://bucket/svhn-records`.
      split: train, validation or test.
      manifest: Manifest of the dataset, if it has been read already.
      verify: check each record's checksum.
      on_error: what iterating does at a damaged record or file: `raise`, or `skip`: pass over it, log it and
        count it in `skipped`. Asking for a damaged example by its number always raises.

    Raises:
      UserError: not a dataset directory, it has no such split, or its schema is newer than this package.
    """
    if on_error not in ("raise", "skip"):
        raise UserError("on_error must be 'raise' or 'skip'.", repr(on_error))
    manifest = manifest or Manifest.load(directory)
    info = manifest.split(split)
    if info.examples != (found := sum(shard.examples for shard in info.shards)):
        rule = f"{join(str(directory), MANIFEST)}: the shards of {split} must hold its {info.examples} examples."
        raise UserError(rule, found)
    return Examples(str(directory), manifest, split, verify, on_error)


def read_records(path: Path, verify: bool = True) -> Iterator[Record]:
    """Yields the serialized records of any uncompressed TFRecord file, in order, without an index.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such shard.") from error
    with stream:
        yield from read_frames(stream, str(path), verify)
