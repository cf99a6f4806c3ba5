"""found-SPLIT.jsonl: a line per picture with its numbers and all that was found, of `evaluate` for `report`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.files.publish import atomic_write
from tfrecords.images.crop import BoundingBox
from tfrecords.typed_json import parse_lines
from trainer.finding.boxes import Found
from trainer.finding.scores import match_numbers


@dataclass(frozen=True)
class FoundNumber:
    """A box that was found, and what it matches.

    Attributes:
      box: Box, pixels of the source picture.
      confidence: Probability of a number there, 0..1.
      iou: IoU with the number that it matches, or 0.
      number: Index of that number among those of the picture; None if it matches none.
    """

    box: BoundingBox
    confidence: float
    iou: float
    number: int | None


@dataclass(frozen=True)
class FoundPicture:
    """A picture with its numbers, and what was found in it.

    Attributes:
      key: Key of the picture.
      numbers: Boxes of its numbers, pixels of the source picture.
      found: Boxes found, the most confident first.
    """

    key: str
    numbers: tuple[BoundingBox, ...]
    found: tuple[FoundNumber, ...]


def found_pictures(
    keys: Sequence[str],
    found: Sequence[Sequence[Found]],
    truth: Sequence[Sequence[BoundingBox]],
    scales: Sequence[tuple[float, float]],
) -> Iterator[FoundPicture]:
    """Yields what was found in each picture of a split: see `trainer.finding.inference.SplitFound`.

    Args:
      keys: Keys of the pictures.
      found: Boxes of each picture, pixels of the image, the most confident first.
      truth: Boxes of the numbers of each picture, pixels of the image.
      scales: Pixels of the image per pixel of the source picture, down and right.
    """
    for key, each, numbers, scale in zip(keys, found, truth, scales, strict=True):
        matched = match_numbers(each, numbers)
        boxes = (
            FoundNumber(_source_box(one.box, scale), one.confidence, iou, number)
            for one, (number, iou) in zip(each, matched, strict=True)
        )
        yield FoundPicture(key, tuple(_source_box(box, scale) for box in numbers), tuple(boxes))


def _source_box(box: BoundingBox, scale: tuple[float, float]) -> BoundingBox:
    return BoundingBox(*(edge / scale[axis % 2] for axis, edge in enumerate(box)))


def write_found(path: Path, pictures: Iterable[FoundPicture]) -> None:
    """Writes a line of JSON per picture; boxes are ymin, xmin, ymax, xmax in pixels of the source picture."""
    with atomic_write(path) as stream:
        for picture in pictures:
            found = [
                {
                    "box": _edges(one.box),
                    "confidence": round(one.confidence, 4),
                    "iou": round(one.iou, 4),
                    "number": one.number,
                }
                for one in picture.found
            ]
            line = {"key": picture.key, "numbers": [_edges(box) for box in picture.numbers], "found": found}
            stream.write((json.dumps(line) + "\n").encode())


def _edges(box: BoundingBox) -> list[float]:
    return [round(edge, 2) for edge in box]


def read_found(path: Path) -> list[FoundPicture]:
    """Returns the pictures of found-SPLIT.jsonl, in stored order.

    Raises:
      UserError: A line is not as `write_found` writes it.
      OSError: The file cannot be read.
    """
    rule = "as `python -m trainer evaluate` writes it; evaluate again."
    return parse_lines(path.read_bytes(), str(path), _parse, rule)


def _parse(content: Any) -> FoundPicture:
    numbers = tuple(BoundingBox(*map(float, box)) for box in content["numbers"])
    found = tuple(
        FoundNumber(
            BoundingBox(*map(float, one["box"])),
            float(one["confidence"]),
            float(one["iou"]),
            None if one["number"] is None else range(len(numbers))[one["number"]],
        )
        for one in content["found"]
    )
    return FoundPicture(str(content["key"]), numbers, found)
