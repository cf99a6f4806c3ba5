"""Makes a larger or smaller input from an existing one: the same pictures under new names, and a digitStruct.mat.

    make_input(Path("svhn/train"), Path("large"), pictures=200_000)

needs little memory, and little disk space since pictures are linked.
"""

import os
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.svhn.digit_struct import FILE_NAME, count_entries
from beam_jobs.sources.svhn.source import SOURCE
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.progress import progress_of

_READ_BYTES = 1 << 20


def count_pictures(folder: Path) -> int:
    """Returns the number of pictures in the annotations of all subsets of a folder."""
    return sum(subset.entries for subset in SOURCE.find_subsets(Input(Place(folder)), SourceOptions()))


def make_input(source: Path, target: Path, pictures: int) -> Path:
    """Makes a folder with one subset, train, unless it exists already, and returns `target`.

    Takes the first entries of `source`, and repeats all of them as often as needed; skips those without a digit.
    Writing digitStruct.mat takes 3 ms per picture. It comes last, so that an interrupted input is not mistaken for a
    complete one.

    Args:
      source: Folder as SVHN unpacks.
      target: Folder to make.
      pictures: Number of pictures.

    Raises:
      UserError: `target` holds something else.
    """
    folder = target / "train"
    if (folder / FILE_NAME).is_file() and count_entries(folder / FILE_NAME) == pictures:
        return target
    if folder.exists():
        raise UserError(f"{folder} must be an input of {pictures} pictures, or not exist.")
    folder.mkdir(parents=True)
    found = list(islice(_usable(source), pictures))
    names = []
    for index, (path, _) in enumerate(islice(cycle(found), pictures), 1):
        names.append(f"{index}{path.suffix}")
        _link(path, folder / names[-1])
    boxes = (_boxes(annotation) for _, annotation in islice(cycle(found), pictures))
    unfinished = folder / f"{FILE_NAME}.part"
    write_digit_struct(unfinished, names, progress_of(boxes, FILE_NAME, pictures, "pictures"))
    unfinished.replace(folder / FILE_NAME)
    return target


def _usable(source: Path) -> Iterator[tuple[Path, Annotation]]:
    """Yields the pictures that have a digit, with their annotations."""
    for subset in SOURCE.find_subsets(Input(Place(source)), SourceOptions()):
        for annotation in SOURCE.read_annotations(subset, 0, subset.entries, "stored", SourceOptions()):
            if annotation.text:
                yield Path(subset.path, annotation.name), annotation


def _link(path: Path, new: Path) -> None:
    try:
        os.link(path, new)
    except OSError:  # on another file system
        new.symlink_to(path.resolve())


def _boxes(annotation: Annotation) -> list[DigitBox]:
    return [
        DigitBox(int(digit) or 10, int(box.xmin), int(box.ymin), int(box.width), int(box.height))
        for digit, box in zip(annotation.text, annotation.boxes, strict=True)
    ]


def warm(folder: Path) -> None:
    """Reads every file of an input once, so that the first way finds the files in memory as the others do."""
    for subset in SOURCE.find_subsets(Input(Place(folder)), SourceOptions()):
        for entry in progress_of(os.scandir(subset.path), "reading", subset.entries + 1, "files"):
            with open(entry.path, "rb", buffering=0) as stream:  # noqa: PTH123  (a third of the time)
                while stream.read(_READ_BYTES):
                    pass
