"""What filters and orders need of every example: one pass over the records, some 100 bytes of memory for each."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfrecords.browse.query import ANY_SUSPECT, SCORE, STORED, Query
from tfrecords.browse.suspects import Suspects
from tfrecords.dataset.manifest import FIND
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError
from tfrecords.record.codec import decode
from tfrecords.record.fast_decode import VALUE_NAMES, UnknownLayoutError, parse_int64s, split_values
from tfrecords.record.scene import decode_scene_facts

_KEY, _TEXT, _CROP_BOX = (VALUE_NAMES.index(name) for name in ("key", "text", "crop_box"))


@dataclass(frozen=True)
class Facts:
    """A table of the examples of all splits, in stored order; those whose records are damaged are left out.

    An example has one number, a scene any number of them; one without a number counts as one of no characters.

    Attributes:
      splits: Names of the splits.
      split: Index in `splits` of each example: (examples,) int8.
      index: Index of each example in its split: (examples,) int64.
      height: Height of the crop in the source picture, of scenes that of the source picture, pixels: (examples,) int64.
      keys: Key of each example, strings.
      texts: Number, strings; the numbers of a scene follow each other.
      owner: Row of the example of each number: (numbers,) int64.
      damaged: Number of examples that were left out.
    """

    splits: tuple[str, ...]
    split: NDArray[np.int8]
    index: NDArray[np.int64]
    height: NDArray[np.int64]
    keys: pa.Array
    texts: pa.Array
    owner: NDArray[np.int64]
    damaged: int

    def find(self, query: Query, suspects: Suspects) -> NDArray[np.int64]:
        """Returns the rows of the examples that a query asks for, in its order: (found,) int64."""
        scores = self._scores(query, suspects) if query.suspect or query.sort == SCORE else None
        rows = np.flatnonzero(self._mask(query, scores))
        if query.sort != STORED:
            # Stable: stored order decides between equals.
            ranks = self._ranks(query, scores)[rows]
            rows = rows[np.argsort(-ranks if query.order == "down" else ranks, kind="stable")]
        elif query.order == "down":
            rows = rows[::-1]
        return rows

    def count_unknown(self, suspects: Suspects) -> int:
        """Returns the number of keys with suspicions that are those of no example and no picture."""
        names = pa.array(list(suspects.scores("")), pa.string())
        known = pc.or_(pc.is_in(names, self.keys), pc.is_in(names, self._pictures()))
        return len(names) - int(np.count_nonzero(_to_numpy(known)))

    def _pictures(self) -> pa.Array:
        """Returns the key of each example without its jitter."""
        return pc.replace_substring_regex(self.keys, "#[0-9]+$", "")

    def _mask(self, query: Query, scores: NDArray[np.float64] | None) -> NDArray[np.bool_]:
        """Returns whether each example passes the filters: (examples,) bool."""
        found = np.ones(len(self.index), bool)
        if query.split:
            found &= self.split == self.splits.index(query.split)
        if query.key:
            found &= _to_numpy(pc.match_substring(self.keys, query.key))
        for limit, compare in ((query.min_height, np.greater_equal), (query.max_height, np.less_equal)):
            if limit is not None:
                found &= compare(self.height, limit)
        if query.suspect and scores is not None:
            found &= ~np.isnan(scores)
        numbers = self._numbers(query)
        if numbers is not None:
            # One number of a scene must pass all filters of numbers.
            passed = np.zeros(len(found), bool)
            passed[self.owner[numbers]] = True
            found &= passed
        return found

    def _numbers(self, query: Query) -> NDArray[np.bool_] | None:
        """Returns whether each number passes the filters of numbers: (numbers,) bool; None if there are none."""
        masks = []
        if query.text:
            compare = {"exact": pc.equal, "prefix": pc.starts_with, "contains": pc.match_substring}[query.match]
            masks.append(_to_numpy(compare(self.texts, query.text)))
        for limit, at_least in ((query.min_length, True), (query.max_length, False)):
            if limit is not None:
                lengths = self._lengths()
                masks.append(lengths >= limit if at_least else lengths <= limit)
        return np.logical_and.reduce(masks) if masks else None

    def _lengths(self) -> NDArray[np.int64]:
        return np.asarray(pc.utf8_length(self.texts), np.int64)

    def _scores(self, query: Query, suspects: Suspects) -> NDArray[np.float64]:
        """Returns the highest score of each example, NaN without a suspicion of the kind: (examples,) float64."""
        found = suspects.scores("" if query.suspect in ("", ANY_SUSPECT) else query.suspect)
        values = np.array([*found.values(), np.nan])
        pictures = self._pictures()
        names = pa.array(list(found), pa.string())
        both = [np.asarray(pc.index_in(keys, names).fill_null(len(found))) for keys in (self.keys, pictures)]
        scores: NDArray[np.float64] = np.fmax(values[both[0]], values[both[1]])
        return scores

    def _ranks(self, query: Query, scores: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Returns the place of each example in the query's order, upwards: (examples,) float64."""
        if query.sort == "height":
            return self.height.astype(np.float64)
        if query.sort == "key":
            return np.array(pc.rank(self.keys, tiebreaker="min"), np.float64)
        if scores is not None and query.sort == SCORE:
            return np.nan_to_num(scores, nan=-np.inf)
        is_text = query.sort == "text"
        of_numbers = np.asarray(pc.rank(self.texts, tiebreaker="min")) if is_text else self._lengths()
        # A scene has the place of its first number in the order of texts, and of its longest one in that of lengths.
        ranks = np.full(len(self.index), np.inf if is_text else 0.0)
        (np.minimum if is_text else np.maximum).at(ranks, self.owner, of_numbers)
        return ranks


class Scan:
    """The facts of a dataset, read in the background.

    Attributes:
      total: Number of examples to read.
      done: Number of examples that were read so far.
    """

    def __init__(self, readers: Mapping[str, Examples]) -> None:
        """Takes the examples of each split."""
        self._readers = readers
        self.total, self.done = sum(map(len, readers.values())), 0
        self._facts: Facts | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def is_started(self) -> bool:
        """Whether reading has begun."""
        return self._thread is not None

    def start(self) -> threading.Thread:
        """Starts reading, unless it was started before; returns the thread that reads."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="facts", daemon=True)
                self._thread.start()
            return self._thread

    def result(self, timeout_s: float | None) -> Facts | None:
        """Returns the facts; None if reading takes longer than the timeout."""
        self.start().join(timeout_s)
        if self._error is not None:
            raise self._error
        return self._facts

    def _run(self) -> None:
        try:
            self._facts = self._read()
        # Raised again in the thread that asks for the facts.
        except Exception as error:
            self._error = error

    def _read(self) -> Facts:
        split: list[int] = []
        index: list[int] = []
        heights: list[int] = []
        keys: list[str] = []
        texts: list[str] = []
        counts: list[int] = []
        for code, examples in enumerate(self._readers.values()):
            for each in range(len(examples)):
                self.done += 1
                try:
                    key, numbers, height = facts_of(examples, each)
                except UserError:
                    continue
                split.append(code)
                index.append(each)
                heights.append(height)
                keys.append(key)
                texts += numbers
                counts.append(len(numbers))
        return Facts(
            splits=tuple(self._readers),
            split=np.array(split, np.int8),
            index=np.array(index, np.int64),
            height=np.array(heights, np.int64),
            keys=pa.array(keys, pa.string()),
            texts=pa.array(texts, pa.string()),
            owner=np.repeat(np.arange(len(counts)), counts),
            damaged=self.total - len(index),
        )


def facts_of(examples: Examples, index: int) -> tuple[str, tuple[str, ...], int]:
    """Returns key, numbers (at least one; an empty text for none) and height of an example, without decoding pixels.

    Args:
      examples: Examples of a split.
      index: Index of the example.

    Raises:
      UserError: The record is damaged.
    """
    data, file, index_in_file = examples.record(index)
    manifest = examples.manifest
    if manifest.task == FIND:
        key, texts, height = decode_scene_facts(data, file.location(index_in_file))
        return key, texts or ("",), height
    stated = manifest.labels, manifest.schema_version
    try:
        values = split_values(data, *stated)[1]
        ymin, _, ymax, _ = parse_int64s(values[_CROP_BOX], 4).tolist()
        return values[_KEY].decode(), (values[_TEXT].decode(),), ymax - ymin
    except (UnknownLayoutError, UnicodeDecodeError):
        example = decode(data, file.location(index_in_file), *stated)
        return example.key, (example.text,), int(example.crop_box[2] - example.crop_box[0])


def _to_numpy(mask: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(mask.to_numpy(zero_copy_only=False), bool)
