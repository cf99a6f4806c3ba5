"""Photos in which the place of the number is not given: found, read, and drawn with their boxes."""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.flags import local_path
from tfrecords.images.marks import Mark, draw_marks
from trainer.photo_reader import ROTATE, PhotoNumber
from trainer.pretrained import FINDER, STREET, offered_finder, run_directory
from trainer.run.directory import Run
from trainer.scoring.prediction_output import prediction_json


def add_finding_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of photos in which the place of the number is not given."""
    default = "" if offered_finder() else "; none comes with this package"
    parser.add_argument(
        "--finder",
        metavar="DIR",
        help="run directory of the model that finds numbers, or its address (default: that of the package, with its "
        f"weights for house numbers{default})",
    )
    parser.add_argument(
        "--whole", action="store_true", help="read complete pictures, which are the number and little else"
    )
    parser.add_argument("--all", action="store_true", help="print all numbers of a picture, not the surest alone")
    parser.add_argument(
        "--rotate",
        choices=ROTATE,
        default=ROTATE[0],
        help="auto: turn a picture by 90, 180 and 270 degrees too, unless a number is read for sure (default: none)",
    )
    parser.add_argument(
        "--draw", type=local_path, metavar="DIR", help="folder for the pictures with boxes around their numbers"
    )


def check_finding(args: argparse.Namespace) -> None:
    """Checks that the options of photos without a place go together with the others.

    Raises:
      UserError: They do not.
    """
    if args.finder is not None and (args.box or args.whole or args.data):
        given = "--box" if args.box else "--whole" if args.whole else "--data"
        raise UserError(f"--finder must not go with {given}, where nothing is looked for.", args.finder)
    if args.whole and (args.box or args.data):
        raise UserError("--whole must go with photos without --box.", "--box" if args.box else "--data")
    wanted = [name for name in ("all", "draw") if getattr(args, name)] + ["rotate"] * (args.rotate != ROTATE[0])
    if wanted and not _finds(args):
        rule = f"--{wanted[0]} must go with photos whose numbers are looked for: without --box, --whole and --data"
        rule += ", with --finder where the reader is not that of the package." if args.run_dir else "."
        raise UserError(rule, _given(args))


def chosen_finder(args: argparse.Namespace) -> Run | None:
    """Returns the run of the model that finds numbers; None where nothing is looked for.

    Raises:
      UserError: It is not a run directory.
    """
    if not _finds(args):
        return None
    return Run.load(run_directory(args.finder or FINDER.name))


def _finds(args: argparse.Namespace) -> bool:
    """Returns whether numbers are looked for: if a finder is named, or with the package's weights for house numbers."""
    if args.box or args.whole or args.data:
        return False
    has_own = args.run_dir is None and args.weights in (None, STREET) and offered_finder() is not None
    return args.finder is not None or has_own


def _given(args: argparse.Namespace) -> str:
    """Returns the option because of which nothing is looked for."""
    names = ("box", "whole", "data", "run_dir", "weights")
    return next((f"--{name.replace('_', '-')}" for name in names if getattr(args, name)), "no --finder")


def found_rows(
    name: str, numbers: Sequence[PhotoNumber], is_all: bool, least: float | None = None
) -> Iterator[dict[str, Any]]:
    """Yields the numbers of a photo in the form of the JSON output: the surest one or all, or that there is none.

    Each has its `box` (left, top, width, height in pixels of the photo; null where the complete photo was read),
    `box_confidence` and `turned`, the degrees by which the photo was turned counter-clockwise to read it.

    Args:
      name: Name of the photo.
      numbers: Its numbers, the most confident first.
      is_all: Whether to yield all.
      least: Confidence below which a number is refused; None to refuse none.
    """
    if not numbers:
        guess = {} if least is None else {"best_guess": ""}
        nothing: dict[str, Any] = {"length": 0, "confidence": None, "length_probabilities": [], "digits": []}
        yield {"photo": name, "number": "", **guess, **nothing, "box": None, "box_confidence": None, "turned": 0}
    for number in numbers if is_all else numbers[:1]:
        box = number.box
        yield {
            **prediction_json(name, number.predictions, number.index, least),
            "box": None if box is None else [round(x, 2) for x in (box.xmin, box.ymin, box.width, box.height)],
            "box_confidence": number.box_confidence,
            "turned": number.turned,
        }


class Drawings:
    """A folder of photos with the boxes and texts of their numbers, one PNG for each photo.

    Attributes:
      count: Number of pictures written.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the folder, which is made with the first picture."""
        self.count = 0
        self._folder, self._names = folder, Counter[str]()

    def write(self, name: str, picture: NDArray[np.uint8], numbers: Iterable[PhotoNumber]) -> Path:
        """Writes a photo, and returns its file. A second photo of one name gets a number.

        Args:
          name: Name of the photo, of which the last part is used.
          picture: Its pixels, (height, width, 3) uint8 RGB.
          numbers: Its numbers.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = Path(name).stem or "picture"
        self._names[stem] += 1
        path = self._folder / (f"{stem}.png" if self._names[stem] == 1 else f"{stem}-{self._names[stem]}.png")
        with atomic_write(path) as stream:
            draw(picture, numbers).save(stream, "PNG")
        self.count += 1
        return path


def draw(picture: NDArray[np.uint8], numbers: Iterable[PhotoNumber]) -> Image.Image:
    """Returns a photo with a box and the text of each number that has a place, and its confidence."""
    marks = [Mark(one.box, f"{one.text} {one.confidence:.0%}") for one in numbers if one.box is not None]
    return draw_marks(picture, marks)
