"""`python -m beam_jobs sample`: draws house numbers as SVHN Format 1, or complete scenes as COCO."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from beam_jobs.sample.difficulty import STYLES
from tfrecords._version import __version__
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_path, atomic_write
from tfrecords.files.purpose import check_purpose
from tfrecords.flags import add_flags, from_flags, local_path, setting
from tfrecords.interrupts import ending_at_once
from tfrecords.progress import Progress, progress
from tfrecords.spawn import spawn_map

if TYPE_CHECKING:
    from beam_jobs.sample.scenes.picture import Annotated
    from beam_jobs.sources.svhn.write import DigitBox

    Boxes = tuple[DigitBox, ...]

Picture = TypeVar("Picture")
EPILOG = """\
examples:
  python -m beam_jobs sample --output digits --count 1000
  python -m beam_jobs sample --output digits --style street --seed 1 --overwrite
  python -m beam_jobs sample --output digits --style varied --faces fonts
  python -m beam_jobs sample --output scenes --scene --count 20000

Creates DIR/train and DIR/test, each with PNGs and their boxes in
digitStruct.mat, and DIR/sample.json with the options, versions and faces.

With --scene, the pictures are complete streets of 120 to 640 pixels, as JPEG
files with instances.json, which --source coco reads; the options are in
DIR/scenes.config. 65 % have one number, 20 % two to four and 15 % none, but
walls, doors, leaves, railings and signs of letters. A picture in which
more than half of a number is hidden, or one is too faint, is drawn again.
"""
# Pictures with 1 to 5 digits in SVHN's training set of 33,402; the last is raised from 9 to 1 % so that a few appear.
LENGTH_COUNTS = (5137, 18130, 8691, 1434, 334)
_CONFIG_NAME = "sample.json"
_SCENES_CONFIG_NAME = "scenes.config"  # Not .json: the coco source takes those in its input for annotations.
_PACKAGES = ("numpy", "pillow", "h5py", "matplotlib", "opencv-python-headless")
_PICTURES_PER_TASK = 50  # About 0.3 s of work: far more than the cost of a task, and the progress bar still moves.
_PNG_LEVEL = 1  # Noise hardly compresses: level 6 takes 2.5 times as long for 6 % fewer bytes.


@dataclass(frozen=True)
class SampleConfig:
    """Options that determine the bytes of the pictures; saved next to them as sample.json.

    Attributes:
      count: Pictures in both subsets together, at least 2.
      test_fraction: Share of the pictures in test, above 0 and below 1; each subset has at least one picture.
      seed: Random seed, at least 0.
      style: Difficulty of the pictures, one of `STYLES`.
      scene: Whether to draw complete scenes in place of single numbers.
    """

    count: int = setting(4000, "pictures in train and test together")
    test_fraction: float = setting(0.1, "share of the pictures in test")
    seed: int = setting(0, "random seed; the same seed draws the same bytes")
    style: str = setting(
        "clear",
        "clear: easy to read; street: faint, blurred and bent, as hard as street photos; varied: street with more "
        "materials, cameras, loose boxes and words; display: seven segments; meter: rolling drums; device: both",
        choices=tuple(STYLES),
        old="look",
    )
    scene: bool = setting(False, "complete street pictures with no, one or several numbers, written as COCO")

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
          UserError: An option is out of range.
        """
        if self.count < 2:
            raise UserError("--count must be at least 2: one picture to train on and one to test.", self.count)
        if not 0 < self.test_fraction < 1:
            raise UserError("--test-fraction must be above 0 and below 1.", self.test_fraction)
        if self.seed < 0:
            raise UserError("--seed must be 0 or more.", self.seed)
        if self.style not in STYLES:
            raise UserError(f"--style must be one of {', '.join(STYLES)}.", self.style)
        if self.scene and self.style != "clear":
            raise UserError("--scene draws numbers of its own styles: leave out --style.", self.style)

    @property
    def subset_counts(self) -> dict[str, int]:
        """The number of pictures in each subset."""
        test = min(max(round(self.count * self.test_fraction), 1), self.count - 1)
        return {"train": self.count - test, "test": test}


@dataclass(frozen=True)
class _Task:
    """The pictures `start`.png to `stop - 1`.png of a subset, to draw in one worker process."""

    folder: Path
    subset: str
    config: SampleConfig
    faces: tuple[str, ...]
    start: int
    stop: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sample`."""
    parser.add_argument(
        "--output", type=local_path, required=True, metavar="DIR", help="folder in which train/ and test/ are created"
    )
    add_flags(parser, SampleConfig)
    parser.add_argument(
        "--faces",
        type=local_path,
        metavar="DIR",
        help="folder of typefaces (.ttf, .otf) to draw with too; sample.json has their digests",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of worker processes")
    parser.add_argument("--overwrite", action="store_true", help="replace pictures that sample drew in DIR before")


def run(args: argparse.Namespace) -> int:
    """Draws both subsets and prints the next command; returns 0.

    Raises:
      UserError: An option is out of range, matplotlib's typefaces are missing, or DIR already contains train or test.
    """
    config = from_flags(SampleConfig, vars(args))
    output: Path = args.output
    if args.jobs < 1:
        raise UserError("--jobs must be at least 1.", args.jobs)
    check_purpose("--output", output, "pictures")
    _check_free(output, config, args.overwrite)
    with ending_at_once():
        from beam_jobs.sample.faces import folder_faces
        from beam_jobs.sample.glyphs import STROKE_FACES, find_faces

        # Before anything is written: one of its libraries may not be installed.
        importlib.import_module("beam_jobs.sample.scenes.picture" if config.scene else "beam_jobs.sample.photo")
    more = folder_faces(args.faces) if args.faces else {}
    faces = find_faces() + (STROKE_FACES if config.scene or STYLES[config.style].stroke_faces else ())
    faces += tuple(str(args.faces / name) for name in more)
    counts = _draw_subsets(output, config, faces, args.jobs, more)
    drawn = " and ".join(f"{count} {subset}" for subset, count in config.subset_counts.items())
    source = ("coco", "--task", "find") if config.scene else ("svhn",)
    command = ("python", "-m", "beam_jobs", "prepare", "--source", *source, "--input", str(output))
    records = str(output.with_name(f"{output.name}-records")) if output.name else "records"
    print(f"drew {drawn} pictures in {output}")
    if config.scene:
        print(_described(counts))
    print(f"Next: {shlex.join((*command, '--output', records))}")
    return 0


def picture_rng(seed: int, subset: str, index: int) -> np.random.Generator:
    """Returns the random generator of one picture, independent of all other pictures and of their count."""
    return np.random.default_rng(stable_digest(f"{seed}/sample/{subset}/{index}"))


def draw_number(rng: np.random.Generator, numbers: str = "even") -> tuple[int, ...]:
    """Returns the digits 0 to 9 of a number whose length follows `LENGTH_COUNTS`; the first is not 0.

    Args:
      rng: Random generator.
      numbers: `Style.numbers`: `even`, `logarithmic` or `counter`, whose lengths are even and may begin with 0.
    """
    if numbers == "counter":
        return tuple(map(int, rng.integers(0, 10, rng.integers(1, len(LENGTH_COUNTS) + 1))))
    shares = np.array(LENGTH_COUNTS) / sum(LENGTH_COUNTS)
    length = int(rng.choice(len(shares), p=shares)) + 1
    if numbers == "logarithmic" and length > 1:
        return tuple(map(int, str(int(10 ** (length - 1 + rng.random())))))
    return (int(rng.integers(1, 10)), *(int(digit) for digit in rng.integers(0, 10, length - 1)))


def _check_free(output: Path, config: SampleConfig, overwrite: bool) -> None:
    for folder in (output / subset for subset in config.subset_counts):
        if folder.exists() and not overwrite:
            raise UserError("The output already contains pictures: use another --output, or --overwrite.", folder)
        if folder.exists() and not any((output / name).is_file() for name in (_CONFIG_NAME, _SCENES_CONFIG_NAME)):
            # It may be SVHN itself, a long download, which unpacks to the same names.
            rule = f"--overwrite only replaces pictures that sample drew, next to {_CONFIG_NAME}"
            raise UserError(f"{rule} or {_SCENES_CONFIG_NAME}.", folder)


def _draw_subsets(
    output: Path, config: SampleConfig, faces: tuple[str, ...], jobs: int, digests: dict[str, str]
) -> Counter[str]:
    """Creates both subsets, which appear only when both are complete, and their configuration; returns what it drew."""
    saved, other = _CONFIG_NAME, _SCENES_CONFIG_NAME
    if config.scene:
        saved, other = other, saved
    with ExitStack() as published:
        folders = {
            subset: published.enter_context(atomic_path(output / subset, sole_writer=True))
            for subset in config.subset_counts
        }
        counts = (_draw_scenes if config.scene else _draw)(folders, config, faces, jobs)
        # Before the subsets: with it, --overwrite can repair what a kill between the two renames leaves.
        _save_config(output / saved, config, digests)
        (output / other).unlink(missing_ok=True)
    return counts


def _draw(folders: Mapping[str, Path], config: SampleConfig, faces: tuple[str, ...], jobs: int) -> Counter[str]:
    """Writes 1.png, 2.png, ... and digitStruct.mat to the folder of each subset."""
    tasks = {subset: _tasks(folder, subset, config, faces) for subset, folder in folders.items()}
    from beam_jobs.sources.svhn.write import write_digit_struct

    # One map for both: the processes draw the next subset while digitStruct.mat is written.
    drawn = spawn_map(_draw_range, list(chain(*tasks.values())), jobs)
    with closing(drawn), progress("drawing", config.count, "pictures") as bar:
        for subset, folder in folders.items():
            bar.rename(f"drawing {subset}")
            boxes = _counted(chain.from_iterable(islice(drawn, len(tasks[subset]))), bar)
            names = [f"{index}.png" for index in range(1, config.subset_counts[subset] + 1)]
            write_digit_struct(folder / "digitStruct.mat", names, boxes)
    return Counter()


def _draw_scenes(folders: Mapping[str, Path], config: SampleConfig, faces: tuple[str, ...], jobs: int) -> Counter[str]:
    """Writes 1.jpg, 2.jpg, ... and instances.json to the folder of each subset; returns counts by kind of picture."""
    tasks = {subset: _tasks(folder, subset, config, faces) for subset, folder in folders.items()}
    from beam_jobs.sample.scenes.write import ANNOTATIONS, count_kinds, write_annotations

    counts: Counter[str] = Counter()
    drawn = spawn_map(_draw_scene_range, list(chain(*tasks.values())), jobs)
    with closing(drawn), progress("drawing", config.count, "pictures") as bar:
        for subset, folder in folders.items():
            bar.rename(f"drawing {subset}")
            pictures = list(_counted(chain.from_iterable(islice(drawn, len(tasks[subset]))), bar))
            counts.update(count_kinds(pictures))
            write_annotations(folder / ANNOTATIONS, [f"{index}.jpg" for index in range(1, len(pictures) + 1)], pictures)
    return counts


def _described(counts: Counter[str]) -> str:
    """Returns a line about the numbers of scenes."""
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in ("with one number", "with several", "without"))
    again = f"{counts['again']} were drawn again, since a number was hidden or too faint"
    return f"{counts['numbers']} numbers; pictures: {kinds}; {again}"


def _tasks(folder: Path, subset: str, config: SampleConfig, faces: tuple[str, ...]) -> list[_Task]:
    """Creates the folder of a subset and returns the tasks that fill it."""
    folder.mkdir()
    stop, step = config.subset_counts[subset] + 1, _PICTURES_PER_TASK
    return [_Task(folder, subset, config, faces, i, min(i + step, stop)) for i in range(1, stop, step)]


def _draw_range(task: _Task) -> list[Boxes]:
    from beam_jobs.sample.photo import draw_photo

    style, boxes = STYLES[task.config.style], []
    for index in range(task.start, task.stop):
        rng = picture_rng(task.config.seed, task.subset, index)
        photo = draw_photo(rng, task.faces, draw_number(rng, style.numbers), style)
        Image.fromarray(photo.pixels).save(task.folder / f"{index}.png", compress_level=_PNG_LEVEL)
        boxes.append(photo.boxes)
    return boxes


def _draw_scene_range(task: _Task) -> list[Annotated]:
    import cv2

    from beam_jobs.sample.scenes.content import draw_numbers
    from beam_jobs.sample.scenes.picture import draw_scene

    # The processes are the parallelism; and the bytes must not depend on the number of threads.
    cv2.setNumThreads(1)
    pictures = []
    for index in range(task.start, task.stop):
        rng = picture_rng(task.config.seed, f"scene/{task.subset}", index)
        scene = draw_scene(rng, task.faces, draw_numbers(rng, draw_number))
        (task.folder / f"{index}.jpg").write_bytes(scene.jpeg)
        pictures.append(scene.annotated)
    return pictures


def _counted(pictures: Iterator[Picture], bar: Progress) -> Iterator[Picture]:
    for picture in pictures:
        bar.update()
        yield picture


def _save_config(path: Path, config: SampleConfig, digests: dict[str, str]) -> None:
    """Writes sample.json: the options, the versions, and the digests of the typefaces of --faces, if there are any."""
    versions = {package: version(package) for package in _PACKAGES}
    saved = {**asdict(config), "streetdigits": __version__, "versions": versions}
    if digests:
        saved["faces"] = digests
    with atomic_write(path) as stream:
        stream.write((json.dumps(saved, indent=2) + "\n").encode())
