"""A finder and a reader together: the numbers in a photo, and where they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox
from trainer.finding.boxes import Found
from trainer.finding.finder import Finder, run_threshold
from trainer.lite.runtime import TENSORFLOW
from trainer.reader import Reader, cut_image
from trainer.run.directory import Run
from trainer.scoring.decode import Predictions

ROTATE = ("none", "auto")
"""Whether a photo is turned by 90, 180 and 270 degrees too, where no number is read for sure as it is."""
CANDIDATES = 0.05
"""Confidence of the finder from which a place is read, if no other number of the photo is surer."""
MOST_NUMBERS = 4
"""Places of a photo that are read, the most confident ones."""
GROWTHS = (0.0, 0.3)
"""Growths of a found box, as fractions of its size, with each of which it is read; the probabilities are averaged. A
found box is less exact than one that a person drew: of 3,591 photos the mean of two reads 86.9 % right and covers 62 %
at 98 %, the box as it is 86.4 and 48 % (docs/accuracy.md)."""
LEAST_SCORE = 0.15
"""Confidence in box and text together below which there is no number. Of 79 drawn streets without one, 15 have more, of
3,150 photos that are read right 74 have less; with 0.1, 30 and 30 (docs/accuracy.md)."""
_SURE = 0.5
"""Confidence in box and text together from which on a photo is not turned."""


class Finding(Protocol):
    """What finds the places of numbers: `trainer.finding.finder.Finder`."""

    def find(self, picture: NDArray[np.uint8]) -> list[Found]:
        """Returns the places of numbers in a picture, the most confident first."""


@dataclass(frozen=True)
class PhotoNumber:
    """A number in a photo.

    Attributes:
      predictions: Predictions of the reader for a batch of images.
      index: Index of the number's image in the batch.
      box: Where it is, in pixels of the photo; None where nothing was found and the complete photo was read.
      box_confidence: Confidence of the finder, 0..1; 1 without a box.
      turned: Degrees by which the photo was turned counter-clockwise to read it: 0, 90, 180 or 270. The box is in the
        photo as it is.
    """

    predictions: Predictions
    index: int
    box: BoundingBox | None
    box_confidence: float = 1.0
    turned: int = 0

    @property
    def text(self) -> str:
        """Characters of the number; empty for no number."""
        return self.predictions.texts[self.index]

    @property
    def confidence(self) -> float:
        """Probability that all characters are right, if the box is; 0..1."""
        return float(self.predictions.confidence[self.index])

    @property
    def score(self) -> float:
        """Confidence in the box and in the text together, 0..1."""
        return self.confidence * self.box_confidence


class PhotoReader:
    """Finds the numbers in a photo, and reads them.

    Attributes:
      finder: What finds their places, also unlikely ones.
      reader: What reads them.
      least: Confidence of the finder from which a place counts next to a surer number of the same photo.
    """

    def __init__(self, finder: Finding, reader: Reader, least: float = 0.0) -> None:
        """Takes a finder, a reader, and the confidence from which further numbers of a photo count."""
        self.finder, self.reader, self.least = finder, reader, least

    @classmethod
    def load(cls, finder: Run, reader: Reader, runtime: str = TENSORFLOW) -> "PhotoReader":
        """Returns the pair of the finder of a run and a reader.

        The finder's threshold on its validation split decides about further numbers of a photo. The surest place of a
        photo is read from `CANDIDATES` on, since the reader says whether it is a number.

        Args:
          finder: Run of the finder.
          reader: Reader.
          runtime: What computes the finder's predictions, one of `trainer.lite.runtime.RUNTIMES`.

        Raises:
          UserError: The run is not that of a finder, has no weights, or the runtime is not there.
          ModuleNotFoundError: ONNX Runtime is needed and not installed.
        """
        return cls(Finder(finder, CANDIDATES, runtime), reader, run_threshold(finder))

    def read(self, picture: NDArray[np.uint8], rotate: str = "none") -> list[PhotoNumber]:
        """Returns the numbers in a photo, the most confident first; none if there is none.

        Places that the reader takes for no number, or is unsure of, are left out. Where nothing is left, the complete
        photo is read: it may be the number and little else.

        Args:
          picture: Pixels, (height, width, 3) uint8 RGB.
          rotate: One of `ROTATE`.

        Raises:
          UserError: `rotate` is another word.
        """
        if rotate not in ROTATE:
            raise UserError(f"rotate must be one of {', '.join(ROTATE)}.", rotate)
        found = self._read(picture)
        if rotate == "none" or _best(found) >= _SURE:
            return found
        height, width = picture.shape[:2]
        for quarters in (1, 2, 3):
            turned = self._read(np.ascontiguousarray(np.rot90(picture, quarters)))
            if _best(turned) > _best(found):
                found = [_turned_back(each, quarters, height, width) for each in turned]
        return found

    def predict_at(self, picture: NDArray[np.uint8], boxes: Sequence[BoundingBox | None]) -> Predictions:
        """Returns what the reader reads at one or more places, of each the mean over `GROWTHS`.

        Args:
          picture: Pixels, (height, width, 3) uint8 RGB.
          boxes: Places, all of them boxes in pixels; or a single None, which is the complete picture.
        """
        run = self.reader.run
        views = [[box.grow(growth)] if box else [] for box in boxes for growth in (GROWTHS if box else (0.0,))]
        images = [cut_image(picture, view, run.crop, run.image_shape[2]) for view in views]
        return self.reader.predict(np.stack(images), len(views) // len(boxes))

    def _read(self, picture: NDArray[np.uint8]) -> list[PhotoNumber]:
        """Returns the numbers in a picture that is upright, the most confident first."""
        places = [each for each in self.finder.find(picture) if _has_pixels(each.box, picture)][:MOST_NUMBERS]
        numbers = self._read_at(picture, [each.box for each in places], [each.confidence for each in places])
        others = [number for number in numbers[1:] if number.box_confidence >= self.least]
        return [*numbers[:1], *others] or self._read_at(picture, [None], [1.0])

    def _read_at(
        self, picture: NDArray[np.uint8], boxes: list[BoundingBox | None], confidences: list[float]
    ) -> list[PhotoNumber]:
        """Returns the numbers at some places, the most confident first; a box of None is the complete picture."""
        if not boxes:
            return []
        predictions = self.predict_at(picture, boxes)
        pairs = zip(boxes, confidences, strict=True)
        numbers = [PhotoNumber(predictions, index, *pair) for index, pair in enumerate(pairs)]
        kept = (number for number in numbers if number.text and number.score >= LEAST_SCORE)
        return sorted(kept, key=lambda number: -number.score)


def _has_pixels(box: BoundingBox, picture: NDArray[np.uint8]) -> bool:
    """Returns whether a box has at least one whole pixel of a picture."""
    inside = box.clip(*picture.shape[:2]).round()
    return inside.height >= 1 and inside.width >= 1


def _best(numbers: list[PhotoNumber]) -> float:
    return max((number.score for number in numbers), default=0.0)


def _turned_back(number: PhotoNumber, quarters: int, height: int, width: int) -> PhotoNumber:
    """Returns a number of a photo that was turned, with its box in the photo as it is.

    Args:
      number: Number of the turned photo.
      quarters: Quarters of a turn counter-clockwise, 1 to 3.
      height: Height of the photo as it is, pixels.
      width: Width of the photo as it is, pixels.
    """
    box = number.box
    if box is not None:
        ymin, xmin, ymax, xmax = box
        box = {
            1: BoundingBox(xmin, width - ymax, xmax, width - ymin),
            2: BoundingBox(height - ymax, width - xmax, height - ymin, width - xmin),
            3: BoundingBox(height - xmax, ymin, height - xmin, ymax),
        }[quarters]
    return replace(number, box=box, turned=90 * quarters)
