"""A YOLO folder as a `Source`: classes are characters, boxes are relative to the picture's size."""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from beam_jobs.annotation import NO_ANNOTATION, Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset, check_subset_names
from beam_jobs.sources.grouping import in_reading_order
from beam_jobs.sources.layout import choose
from beam_jobs.sources.marks import Fault, Mark, join, rejected
from beam_jobs.sources.yolo.labels import OTHER_TASKS, parse_labels, read_size
from beam_jobs.sources.yolo.layout import Entry, Layout, find_layout
from tfrecords.errors import UserError
from tfrecords.files.ahead import read_ahead
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox, union

_FAULTS = {
    "no_image": Fault("no_image", "A label file must have a picture of its name.", "no picture"),
    "missing_picture": Fault("missing_picture", "A picture that a list names must be there.", "no such picture"),
    "bad_path": Fault(
        "bad_path", "The path of a picture must be relative, in the data set's folder.", "another folder"
    ),
    "duplicate_picture": Fault(
        "duplicate_picture", "A picture must be there once, and have its own label file.", "two"
    ),
}
_COUNT = "<u4"


@dataclass(frozen=True)
class YoloSubset(Subset):
    """A subset, and where its entries are, so that a range of them needs no other label files.

    Attributes:
      key: Name of the subset in the data set, which may be read under another.
      counts: Number of entries of each picture: compressed uint32.
    """

    key: str = ""
    counts: bytes = b""


class YoloSource(Source):
    """Reader of YOLO folders."""

    packages = ("pyyaml",)
    title = "YOLO folder"
    expects = (
        "a folder with a data.yaml (or classes.txt) whose classes are characters, `images` and `labels` next to each "
        "other, or pictures with their labels; or the data.yaml"
    )

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of a data set; see `yolo.layout`. All label files are read.

        Raises:
          UserError: It is no YOLO data set, a wanted subset is missing, or its rows are of another task.
        """
        find_layout.cache_clear()
        layout = find_layout(given.place)
        subsets = tuple(_describe(layout, str(given.place), *pair) for pair in _wanted(layout, given).items())
        check_subset_names(tuple(subset.name for subset in subsets))
        return subsets

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the folders in a data set whose label files are in none of the subsets, sorted."""
        layout = find_layout(given.place)
        read = {subset.key for subset in subsets if isinstance(subset, YoloSubset)}
        left = {str(layout.root / name) for name in layout.entries if name not in read}
        return tuple(sorted({*left, *layout.unread}))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries, reading only their label files; see `Source`.

        Raises:
          UserError: The data set as a whole cannot be read.
        """
        known = subset if isinstance(subset, YoloSubset) else _found_again(subset.path, subset.annotations_sha256)
        layout = find_layout(Place(subset.path))
        stops = np.cumsum(np.frombuffer(zlib.decompress(known.counts), _COUNT), dtype=np.int64)
        first = int(np.searchsorted(stops, start, "right"))
        last = min(int(np.searchsorted(stops, stop, "left")) + 1, len(stops))
        starts = [0, *stops.tolist()][first:last]
        placed = zip(layout.entries[known.key][first:last], starts, stops[first:last].tolist(), strict=True)

        def annotate(each: tuple[Entry, int, int]) -> list[Annotation]:
            return _annotations(layout, subset.name, each[0], each[1], digit_order, options.as_stored)

        for (entry, index, end), read in read_ahead(placed, annotate, lambda _: layout.root.is_remote):
            found = read()
            if len(found) != end - index:
                raise UserError(f"{layout.root / entry.name}: Labels must not change while they are read.", entry.label)
            yield from found[max(start - index, 0) : stop - index]


SOURCE = YoloSource()


def _wanted(layout: Layout, given: Input) -> dict[str, str]:
    """Returns the names of the subsets to read, and those under which they are read."""
    present = list(layout.entries)
    if not present:
        raise UserError("A YOLO data set must hold pictures.", given.place)
    chosen = choose({name: name for name in present}, given.wanted, given.place)
    return {present_name: name for name, present_name in chosen.items()}


def _describe(layout: Layout, path: str, key: str, name: str) -> YoloSubset:
    """Returns a subset: its label files are read once, for their digest and the number of their entries."""
    digest = hashlib.sha256(repr(sorted(layout.classes.items())).encode())
    counts = []
    reasons: Counter[str] = Counter()
    example: Fault | None = None

    def read(entry: Entry) -> bytes:
        return layout.at(entry.label).read_bytes() if entry.label else b""

    for entry, read_label in read_ahead(layout.entries[key], read, lambda _: layout.root.is_remote):
        data = read_label()
        digest.update(f"{entry.name}\n{entry.label}\n{len(data)}\n".encode("utf-8", "surrogateescape") + data)
        marks = parse_labels(data, layout.characters, layout.classes)
        counts.append(1 if entry.fault else max(1, len(_numbers(marks))))
        for mark in marks:
            reasons[mark.fault.reason if mark.fault else ""] += 1
            if mark.fault and mark.fault.reason in OTHER_TASKS:
                example = example or mark.fault
    if example and reasons.total() == sum(reasons[reason] for reason in OTHER_TASKS):
        raise UserError(f"{layout.root}: {example.rule} All rows of {key} are so.", example.received)
    packed = zlib.compress(np.array(counts, _COUNT).tobytes())
    return YoloSubset(name, path, sum(counts), digest.hexdigest(), str(layout.root), key, packed)


@lru_cache(maxsize=8)
def _found_again(path: str, sha256: str) -> YoloSubset:
    """Returns the subset of a data set with these annotations: the ledger of a stream keeps a plain `Subset`.

    Raises:
      UserError: There is none, so that label files have changed.
    """
    for _ in range(2):
        layout = find_layout(Place(path))
        for key in layout.entries:
            subset = _describe(layout, path, key, key)
            if subset.annotations_sha256 == sha256:
                return subset
        find_layout.cache_clear()
    raise UserError(f"{path}: Pictures and labels must not change while they are read.", sha256)


def _numbers(marks: list[Mark]) -> list[tuple[list[int], Fault | None]]:
    """Returns the numbers of a picture, as `join` does; rows that are there twice are rejected alone."""
    twice = [index for index, mark in enumerate(marks) if mark.fault and mark.fault.reason == "duplicate_annotation"]
    if not twice:
        return join(marks)
    left = [index for index in range(len(marks)) if index not in twice]
    found = [([left[index] for index in number], fault) for number, fault in join([marks[index] for index in left])]
    return sorted([*found, *(([index], marks[index].fault) for index in twice)], key=lambda number: number[0])


def _annotations(
    layout: Layout, subset: str, entry: Entry, index: int, digit_order: str, as_stored: bool
) -> list[Annotation]:
    """Returns the annotations of a picture, of which the first has an index."""
    if entry.fault:
        is_unnamed = entry.fault in ("bad_path", "duplicate_picture")
        fault = _FAULTS[entry.fault]
        name, received = (f"#{index + 1}", entry.name) if is_unnamed else (entry.name, fault.received)
        return [rejected(subset, name, index, Fault(fault.reason, fault.rule, received))]
    data = layout.at(entry.label).read_bytes() if entry.label else b""
    marks = parse_labels(data, layout.characters, layout.classes)
    if not marks:
        rule = "A picture must have an annotation to become an example."
        # Background, by YOLO's own convention.
        received = "an empty label file" if entry.label else "no label file"
        fault = Fault(NO_ANNOTATION, rule, received, no_number=True)
        return [rejected(subset, entry.name, index, fault)]
    numbers = _numbers(marks)
    parts = range(1, len(numbers) + 1) if len(numbers) > 1 else (0,)
    size = _size(layout.at(entry.name), not as_stored)
    if isinstance(size, Fault):
        return [rejected(subset, entry.name, index + at, size, part) for at, part in enumerate(parts)]
    placed = [[(marks[at].label, _scaled(marks[at].box, *size)) for at in own] for own, _ in numbers]
    around = [None if fault else union(box for _, box in own) for own, (_, fault) in zip(placed, numbers, strict=True)]
    made: list[Annotation] = []
    for at, (part, own) in enumerate(zip(parts, placed, strict=True)):
        if broken := numbers[at][1]:
            made.append(rejected(subset, entry.name, index + at, broken, part))
            continue
        ordered = in_reading_order(own, digit_order)
        text, boxes = "".join(character for character, _ in ordered), tuple(box for _, box in ordered)
        others = tuple(box for other, box in enumerate(around) if box and other != at)
        made.append(Annotation(subset, entry.name, index + at, text, boxes, part=part, others=others))
    return made


def _size(picture: Place, upright: bool) -> tuple[int, int] | Fault:
    """Returns the height and width of a picture, pixels, or why they are not known."""
    # With the other decoders, which are not needed to list what is there.
    from tfrecords.images.decode import PictureError

    try:
        return read_size(picture, upright)
    except FileNotFoundError:
        return Fault("no_image", "A label file must have a picture of its name.", "no such picture")
    except OSError as error:
        # Without the path, which is different on every machine.
        rule = "The picture's size, of which the boxes are parts, must be readable."
        return Fault("unreadable_picture", rule, error.strerror or str(error))
    except PictureError as error:
        rule, _, received = str(error).rpartition(" Received: ")
        return Fault(error.reason, rule, received)


def _scaled(box: BoundingBox | None, height: int, width: int) -> BoundingBox:
    """Returns a relative box in pixels; zeros for none."""
    ymin, xmin, ymax, xmax = box or (0, 0, 0, 0)
    return BoundingBox(ymin * height, xmin * width, ymax * height, xmax * width)
