"""python -m trainer predict: the numbers in a user's own pictures, as they come."""

import argparse
import functools
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.images.decode import decode_picture, evaluation_view
from trainer.input.photos import ENDINGS, find_photos, is_folder
from trainer.pretrained import chosen_run
from trainer.run.weights import load_model
from trainer.scoring.decode import Numbers, decode_numbers
from trainer.scoring.inference import make_forward

EPILOG = """\
examples:
  a picture that holds the number and little else, with the weights that come with the package:
    python -m trainer predict house.jpg
  with a model of your own:
    python -m trainer predict --run-dir runs/first house.jpg
  a street photo, with the number's place in it (left, top, width, height in pixels):
    python -m trainer predict --run-dir runs/first street.jpg --box 120,80,60,40
  several, each with its own box, as JSON:
    python -m trainer predict --run-dir runs/first a.png b.png --box 1,2,30,20 --box 5,5,40,30 --json
  a folder with all below it, a JSON object a line:
    python -m trainer predict --run-dir runs/first photos --json-lines > numbers.jsonl
  paths from another program:
    find photos -newer numbers.jsonl -name '*.jpg' -print0 | python -m trainer predict --run-dir runs/first - --null

Of a folder, the files are read that end as pictures do, hidden ones left out, in the order of their names. Answers
are written a batch at a time: --batch-size 1 answers each line of standard input at once.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="picture files, in any usual format; folders; or - for paths from standard input, one a line",
    )
    parser.add_argument("--run-dir", help="of a trained model; without it, the weights that come with the package")
    parser.add_argument(
        "--box",
        action="append",
        metavar="X,Y,W,H",
        help="where the number is: left, top, width, height in pixels, from 0; once for each photo, in order. "
        "Without it the whole picture is read",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON array with all probabilities")
    form.add_argument("--json-lines", action="store_true", help="print a JSON object a line, with all probabilities")
    parser.add_argument("--null", action="store_true", help="paths on standard input end in NUL, as of find -print0")
    parser.add_argument("--batch-size", type=int, default=64, help="pictures at a time")


def run(args: argparse.Namespace) -> int:
    """Reads every photo that can be read; the others are named on standard error, and make the exit code 1."""
    if args.batch_size < 1:
        raise UserError("--batch-size must be at least 1.", args.batch_size)
    boxes = _boxes(args)
    run_ = chosen_run(args.run_dir)
    # The model is loaded for the sake of the pictures: none is loaded where none can be read.
    forward = functools.cache(lambda: make_forward(load_model(run_)))
    photos = functools.partial(find_photos, args.photos, sys.stdin.buffer, b"\0" if args.null else b"\n")
    pairs = zip(photos(), boxes or itertools.repeat(None), strict=False)
    total = None if "-" in args.photos else sum(1 for _ in photos())
    printer = Printer(args.json, args.json_lines)
    failed = 0
    with tqdm(total=total, desc="predict", unit=" pictures", leave=False, disable=None) as bar:
        while batch := list(itertools.islice(pairs, args.batch_size)):
            names, views = _read_views(batch, run_.crop)
            if views:
                outputs = forward()(np.stack(views))
                numbers = decode_numbers(outputs["length_logits"].numpy(), outputs["digit_logits"].numpy())
                printer.write([describe(name, numbers, index) for index, name in enumerate(names)])
            failed += len(batch) - len(views)
            bar.update(len(batch))
    printer.close()
    lost = f"; {failed:,} could not be read" if failed else ""
    print(f"Read {printer.count:,} of {printer.count + failed:,} pictures{lost}.", file=sys.stderr)
    return 1 if failed else 0


def _boxes(args: argparse.Namespace) -> list[BoundingBox]:
    boxes = [parse_box(text) for text in args.box or []]
    if boxes and len(boxes) != len(args.photos):
        raise UserError("--box must be given once for each photo, or not at all.", f"{len(boxes)} boxes")
    no_files = [name for name in args.photos if name == "-" or is_folder(Path(name))]
    if boxes and no_files:
        raise UserError("--box must be given for files, not for folders or standard input.", no_files[0])
    return boxes


def _read_views(batch: list[tuple[Path, BoundingBox | None]], crop: CropSpec) -> tuple[list[str], list[np.ndarray]]:
    """Returns name and view of each photo that can be read, and tells why the others cannot."""
    names, views = [], []
    for path, box in batch:
        try:
            views.append(read_view(path, [box] if box else [], crop))
            # Names that are no UTF-8 can be printed nowhere.
            names.append(str(path).encode(errors="backslashreplace").decode())
        except (UserError, OSError) as error:
            tqdm.write(f"error: {error}", file=sys.stderr)
    return names, views


def parse_box(text: str) -> BoundingBox:
    """Returns the box of "x,y,w,h": left, top, width, height.

    Raises:
      UserError: not four numbers, or without width or height.
    """
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError("--box must be four numbers, X,Y,W,H.", text) from error
    if not (width > 0 and height > 0 and np.isfinite([left, top, width, height]).all()):
        raise UserError("--box must have a width and height above 0.", text)
    return BoundingBox(top, left, top + height, left + width)


def read_view(path: Path, boxes: list[BoundingBox], crop: CropSpec) -> np.ndarray:
    """Returns what the model sees of a photo: (record_size, record_size, 3) uint8, as its records were made.

    Raises:
      UserError: not a picture, or the box lies outside it.
      OSError: the file cannot be read.
    """
    if is_folder(path):
        raise UserError(f"{path}: The folder must hold pictures ({' '.join(sorted(ENDINGS))}).")
    picture = decode_picture(path.read_bytes(), str(path))
    try:
        return evaluation_view(picture, boxes, crop)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def describe(name: str, numbers: Numbers, index: int) -> dict[str, Any]:
    """Returns one answer as JSON holds it; probabilities 0..1."""
    length = int(numbers.length[index])
    digits = numbers.digits[index, :length].tolist()
    probabilities = numbers.digit_probabilities[index, :length]
    return {
        "photo": name,
        "number": numbers.texts[index],
        "length": length,
        "confidence": float(numbers.confidence[index]),
        "length_probabilities": numbers.length_probabilities[index].tolist(),
        "digits": [
            {"digit": digit, "probability": float(row[digit]), "probabilities": row.tolist()}
            for digit, row in zip(digits, probabilities, strict=False)
        ],
    }


class Printer:
    """Writes answers to standard output as they come: as a table, an array of JSON, or JSON lines."""

    def __init__(self, json_array: bool, json_lines: bool) -> None:
        self.count = 0
        self._array, self._lines, self._width = json_array, json_lines, 0

    def write(self, answers: list[dict[str, Any]]) -> None:
        """Writes the answers of one batch, and flushes."""
        if self._array:
            # Whole lines only, or the progress bar wipes them out; the comma goes first, for the last is not known.
            lines = [f"{',' if self.count or row else '['}{_as_json(answer)}" for row, answer in enumerate(answers)]
        elif self._lines:
            lines = [_as_json(answer) for answer in answers]
        else:
            lines = self._table(answers)
        tqdm.write("\n".join(lines), file=sys.stdout)
        sys.stdout.flush()
        self.count += len(answers)

    def close(self) -> None:
        """Ends the array."""
        if self._array:
            print("]" if self.count else "[]", flush=True)

    def _table(self, answers: list[dict[str, Any]]) -> list[str]:
        """Lines of photo, number, confidence, and each digit's probability; the first batch decides the width."""
        lines = []
        if not self.count:
            self._width = max(len("photo"), *(len(answer["photo"]) for answer in answers))
            lines.append(f"{'photo':<{self._width}}  {'number':<7} confidence  digits")
        for answer in answers:
            digits = " ".join(f"{digit['digit']}:{digit['probability']:.3f}" for digit in answer["digits"])
            number = answer["number"] or "-"
            lines.append(f"{answer['photo']:<{self._width}}  {number:<7} {answer['confidence']:>10.4f}  {digits}")
        return lines


def _as_json(answer: dict[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False)
