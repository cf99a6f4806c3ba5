"""`python -m beam_jobs sample`: draws house numbers and lays them out as SVHN Format 1 unpacks."""

import argparse
import importlib.util
import json
import multiprocessing
import os
import shlex
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from beam_jobs.prepare.assign import digest
from beam_jobs.sample.difficulty import LOOKS
from beam_jobs.sample.glyphs import STROKE_FACES
from beam_jobs.sample.photo import draw_photo
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords._version import __version__
from tfrecords.errors import UserError

# Pictures with 1..5 digits among SVHN's 33,402 for training; 5 is raised from 9 to 1 % so that a few appear.
LENGTH_COUNTS = (5137, 18130, 8691, 1434, 334)
# The faces in matplotlib's wheel whose digits are all of one height and unmistakable.
_FACE_NAMES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif"),
    *("DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
    *("STIXGeneralBolIta", "cmb10", "cmr10", "cmss10", "cmtt10"),
)
_CONFIG_NAME = "sample.json"
_PACKAGES = ("numpy", "pillow", "h5py", "matplotlib", "opencv-python-headless")
_PICTURES_PER_TASK = 50  # about 0.3 s of work: far above a task's cost, and the bar still moves
_PNG_LEVEL = 1  # noise hardly compresses: level 6 takes 2.5 times as long for 6 % fewer bytes

Boxes = tuple[DigitBox, ...]
Task = tuple[Path, str, "SampleConfig", tuple[str, ...], int, int]  # folder, subset, config, faces, first, end


@dataclass(frozen=True)
class SampleConfig:
    """What decides the bytes that are drawn; saved beside them as sample.json.

    Attributes:
      count: pictures in both subsets together, at least 2.
      test_fraction: share of them in test, above 0 and below 1; each subset gets one picture at least.
      seed: at least 0.
      look: how hard they are to read, one of `LOOKS`.
    """

    count: int = 4000
    test_fraction: float = 0.1
    seed: int = 0
    look: str = "clear"

    def __post_init__(self) -> None:
        if self.count < 2:
            raise UserError("--count must be at least 2: one picture to train on and one to test.", self.count)
        if not 0 < self.test_fraction < 1:
            raise UserError("--test-fraction must be above 0 and below 1.", self.test_fraction)
        if self.seed < 0:
            raise UserError("--seed must be 0 or more.", self.seed)
        if self.look not in LOOKS:
            raise UserError(f"--look must be one of {', '.join(LOOKS)}.", self.look)

    @property
    def subset_counts(self) -> dict[str, int]:
        test = min(max(round(self.count * self.test_fraction), 1), self.count - 1)
        return {"train": self.count - test, "test": test}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sample`."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for train/ and test/")
    parser.add_argument("--count", type=int, default=SampleConfig.count, help="pictures, train and test together")
    parser.add_argument("--test-fraction", type=float, default=SampleConfig.test_fraction, help="share in test")
    parser.add_argument("--seed", type=int, default=SampleConfig.seed, help="the same seed draws the same bytes")
    parser.add_argument(
        "--look",
        choices=LOOKS,
        default=SampleConfig.look,
        help="clear: easy to read; street: faint, blurred, bent, as real photos are, to train for those",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--overwrite", action="store_true", help="replace what sample drew in DIR before")


def run(args: argparse.Namespace) -> int:
    """Draws both subsets, then gives them their names; returns 0.

    Raises:
      UserError: an option is out of range, matplotlib's typefaces are missing, or DIR holds train
        or test already.
    """
    config = SampleConfig(args.count, args.test_fraction, args.seed, args.look)
    output: Path = args.output
    if args.jobs < 1:
        raise UserError("--jobs must be at least 1.", args.jobs)
    _check_free(output, config, args.overwrite)
    faces = find_faces() + (STROKE_FACES if LOOKS[config.look].drawn_faces else ())
    output.mkdir(parents=True, exist_ok=True)
    _draw(output, config, faces, args.jobs)
    _publish(output, config)
    made = " and ".join(f"{count} {subset}" for subset, count in config.subset_counts.items())
    command = ("python", "-m", "beam_jobs", "prepare", "--source", "svhn", "--input", str(output))
    print(f"drew {made} pictures in {output}; next: {shlex.join((*command, '--output', f'{output}-records'))}")
    return 0


def find_faces() -> tuple[str, ...]:
    """Paths of the TrueType faces inside matplotlib's package, which is found without importing it.

    Raises:
      UserError: matplotlib, or one of its faces, is not installed.
    """
    spec = importlib.util.find_spec("matplotlib")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" if spec and spec.origin else None
    paths = [folder / f"{name}.ttf" for name in _FACE_NAMES] if folder else []
    if not paths or not all(path.is_file() for path in paths):
        rule = "sample draws with the typefaces in matplotlib's wheel: pip install 'streetdigits[sample]'."
        raise UserError(rule, folder or "no matplotlib")
    return tuple(map(str, paths))


def picture_rng(seed: int, subset: str, index: int) -> np.random.Generator:
    """The generator of one picture, which depends on neither its neighbours nor their number."""
    return np.random.default_rng(digest(seed, "sample", f"{subset}/{index}"))


def draw_number(rng: np.random.Generator) -> tuple[int, ...]:
    """Digits 0..9 of a number whose length follows `LENGTH_COUNTS`; the first is not 0."""
    shares = np.array(LENGTH_COUNTS) / sum(LENGTH_COUNTS)
    length = int(rng.choice(len(shares), p=shares)) + 1
    return (int(rng.integers(1, 10)), *(int(digit) for digit in rng.integers(0, 10, length - 1)))


def _partial(output: Path, subset: str) -> Path:
    return output / f".{subset}.partial"


def _check_free(output: Path, config: SampleConfig, overwrite: bool) -> None:
    for folder in (output / subset for subset in config.subset_counts):
        if folder.exists() and not overwrite:
            raise UserError("The output holds pictures: give another --output, or --overwrite.", folder)
        if folder.exists() and not (output / _CONFIG_NAME).is_file():
            # It may be SVHN itself, a long download, which unpacks to the same names.
            raise UserError(f"--overwrite replaces only what sample drew, beside its {_CONFIG_NAME}.", folder)


def _draw(output: Path, config: SampleConfig, faces: tuple[str, ...], jobs: int) -> None:
    """Fills each subset's partial folder with 1.png, 2.png, ... and digitStruct.mat; empties it first."""
    tasks = {subset: _tasks(output, config, faces, subset) for subset in config.subset_counts}
    # One pool for all: workers draw what comes next while digitStruct.mat is being written.
    with closing(_map(list(chain(*tasks.values())), jobs)) as drawn, tqdm(total=config.count, unit=" pictures") as bar:
        for subset, count in config.subset_counts.items():
            bar.set_description(f"drawing {subset}")
            boxes = _counted(chain.from_iterable(islice(drawn, len(tasks[subset]))), bar)
            names = [f"{index}.png" for index in range(1, count + 1)]
            write_digit_struct(_partial(output, subset) / "digitStruct.mat", names, boxes)


def _counted(boxes: Iterator[Boxes], bar: tqdm) -> Iterator[Boxes]:
    for picture in boxes:
        bar.update()
        yield picture


def _tasks(output: Path, config: SampleConfig, faces: tuple[str, ...], subset: str) -> list[Task]:
    folder, stop, step = _partial(output, subset), config.subset_counts[subset] + 1, _PICTURES_PER_TASK
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return [(folder, subset, config, faces, i, min(i + step, stop)) for i in range(1, stop, step)]


def _map(tasks: list[Task], jobs: int) -> Generator[list[Boxes], None, None]:
    """Runs `_draw_range` on each task, in worker processes where there is work for two; keeps the order."""
    if min(jobs, len(tasks)) == 1:
        yield from map(_draw_range, tasks)
        return
    # Spawned, not forked: a fork copies the progress bar's thread's locks as they happen to stand.
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(_draw_range, tasks)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _draw_range(task: Task) -> list[Boxes]:
    folder, subset, config, faces, start, stop = task
    boxes = []
    for index in range(start, stop):
        rng = picture_rng(config.seed, subset, index)
        photo = draw_photo(rng, faces, draw_number(rng), LOOKS[config.look])
        Image.fromarray(photo.pixels).save(folder / f"{index}.png", compress_level=_PNG_LEVEL)
        boxes.append(photo.boxes)
    return boxes


def _publish(output: Path, config: SampleConfig) -> None:
    """Names the whole subsets. sample.json comes first: with it, --overwrite can mend a broken publication."""
    versions = {package: version(package) for package in _PACKAGES}
    saved = {**asdict(config), "streetdigits": __version__, "versions": versions}
    partial = _partial(output, _CONFIG_NAME)
    partial.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
    partial.replace(output / _CONFIG_NAME)
    for subset in config.subset_counts:
        shutil.rmtree(output / subset, ignore_errors=True)
        _partial(output, subset).rename(output / subset)
