"""python -m trainer predict: the numbers in a user's own pictures."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.boxes import BoundingBox
from tfrecords.crop import CropSpec
from tfrecords.errors import UserError
from tfrecords.picture import decode_picture, evaluation_view
from trainer.checkpoint import load_model
from trainer.decode import Numbers, decode_numbers
from trainer.run_dir import Run

EPILOG = """\
examples:
  a picture that holds the number and little else:
    python -m trainer predict --run-dir runs/first house.jpg
  a street photo, with the number's place in it (left, top, width, height in pixels):
    python -m trainer predict --run-dir runs/first street.jpg --box 120,80,60,40
  several, each with its own box, as JSON:
    python -m trainer predict --run-dir runs/first a.png b.png --box 1,2,30,20 --box 5,5,40,30 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="picture files, in any usual format")
    parser.add_argument("--run-dir", type=Path, required=True, help="of a trained model")
    parser.add_argument(
        "--box",
        action="append",
        metavar="X,Y,W,H",
        help="where the number is: left, top, width, height in pixels, from 0; once for each photo, in order. "
        "Without it the whole picture is read",
    )
    parser.add_argument("--json", action="store_true", help="print JSON with all probabilities")


def run(args: argparse.Namespace) -> int:
    """Reads every photo that can be read; the others are named on standard error, and make the exit code 1."""
    boxes = [parse_box(text) for text in args.box or []]
    if boxes and len(boxes) != len(args.photos):
        raise UserError("--box must be given once for each photo, or not at all.", f"{len(boxes)} boxes")
    run_ = Run.load(args.run_dir)
    names, views = [], []
    for index, name in enumerate(args.photos):
        try:
            views.append(read_view(Path(name), boxes[index : index + 1], run_.crop))
            names.append(name)
        except (UserError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
    if views:
        # The model is loaded for the sake of the pictures: none is loaded where none can be read.
        outputs = load_model(run_).predict(np.stack(views).astype(np.float32), verbose=0)
        numbers = decode_numbers(outputs["length_logits"], outputs["digit_logits"])
        answers = [describe(name, numbers, index) for index, name in enumerate(names)]
        print(json.dumps(answers, indent=2, ensure_ascii=False) if args.json else as_table(answers))
    return 0 if len(views) == len(args.photos) else 1


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


def as_table(answers: list[dict[str, Any]]) -> str:
    """Returns the answers as lines of text: photo, number, confidence, and each digit's probability."""
    width = max(len("photo"), *(len(answer["photo"]) for answer in answers))
    lines = [f"{'photo':<{width}}  {'number':<7} confidence  digits"]
    for answer in answers:
        digits = " ".join(f"{digit['digit']}:{digit['probability']:.3f}" for digit in answer["digits"])
        lines.append(
            f"{answer['photo']:<{width}}  {answer['number'] or '-':<7} {answer['confidence']:>10.4f}  {digits}"
        )
    return "\n".join(lines)
