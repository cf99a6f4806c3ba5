"""One look at every picture of a dataset: what readers answer, and what duplicates and outliers are found by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import UNKNOWN_SPLIT
from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.progress import progress
from trainer.audit.labels import Answers
from trainer.input.records import Records
from trainer.reader import Reader
from trainer.run.directory import dataset_crop
from trainer.scoring.decode import Predictions

_BATCH = 256
_SIDE = 32
"""Height and width of the small grey picture by which pictures are compared, pixels."""
_NAMES = ("key", "image", "text", "crop_box", "boxes", "has_digit_boxes")


@dataclass
class Pictures:
    """The pictures of a dataset whose numbers are known, in stored order; each once, however many jitters it has.

    Attributes:
      keys: Keys of the annotations, those of the examples without the jitter.
      texts: Labels.
      splits: Split of each.
      places: Split and index of the first example of each.
      small: (pictures, 32, 32) uint8, grey.
      sizes: (pictures, 2) int64, height and width of the crop in the source picture, pixels.
      contrast: (pictures,) float64, standard deviation of the grey values, 0..127.5.
      sharpness: (pictures,) float64, variance of the Laplacian of the grey values.
      order: Number that the characters' boxes spell from left to right; the label where it is the same, or where boxes
        are not known.
      views: (pictures,) int64, examples of each.
      background: Number of examples without a number, which are not looked at.
    """

    keys: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    small: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, _SIDE, _SIDE), np.uint8))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    contrast: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sharpness: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    order: list[str] = field(default_factory=list)
    views: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    background: int = 0

    def __len__(self) -> int:
        return len(self.keys)


class AuditReader(Protocol):
    """What answers about pictures."""

    @property
    def name(self) -> str:
        """Name that evidence has for it."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it sees."""

    def predict(self, images: NDArray[np.uint8], keys: Sequence[str], splits: Sequence[str]) -> Predictions:
        """Returns the predictions for images cut as the reader's records.

        Args:
          images: (batch, height, width, channels) uint8.
          keys: Keys of the pictures.
          splits: Their splits.
        """


@dataclass(frozen=True)
class NamedReader:
    """A reader, and the name that evidence has for it.

    Attributes:
      name: Name.
      reader: Reader.
    """

    name: str
    reader: Reader

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that it sees."""
        return self.reader.run.image_shape

    def predict(self, images: NDArray[np.uint8], keys: Sequence[str], splits: Sequence[str]) -> Predictions:
        """Returns the predictions for images cut as the reader's records; the same for all keys and splits."""
        return self.reader.predict(images)


def picture_of(key: str) -> str:
    """Returns the key of the annotation of an example: `train/5.png` of `train/5.png#2`."""
    return key.rpartition("#")[0] or key


def look(records: Records, readers: Sequence[AuditReader]) -> tuple[Pictures, list[Answers]]:
    """Returns the pictures of a dataset, and what each reader answers about them.

    The probabilities that a reader gives the jitters of a picture are averaged.

    Args:
      records: Dataset, of crops.
      readers: Readers of such crops.

    Raises:
      UserError: A record cannot be read, or no number is known.
    """
    gathered = _Gathered(readers)
    total = sum(info.examples for name, info in records.manifest.splits.items() if name != UNKNOWN_SPLIT)
    with progress("audit", total, "examples") as bar:
        for split, start, batch in _batches(records):
            gathered.add(split, start, batch, dataset_crop(records.manifest).record_shape)
            bar.update(len(batch["key"]))
    return gathered.pictures(), gathered.answers()


def _batches(records: Records) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yields split, index of the first example, and arrays of every batch of the splits with known numbers."""
    for split, info in records.manifest.splits.items():
        examples = records.examples(split) if split != UNKNOWN_SPLIT and info.examples else ()
        for start in range(0, len(examples), _BATCH):
            stop = min(start + _BATCH, len(examples))
            yield split, start, examples.batch(range(start, stop), _NAMES)  # type: ignore[union-attr]  # no tuple


class _Gathered:
    """What is known of the pictures so far."""

    def __init__(self, readers: Sequence[AuditReader]) -> None:
        self._readers = readers
        self._rows: dict[str, int] = {}
        self._found = Pictures()
        self._columns: dict[str, list[NDArray[Any]]] = {"small": [], "sizes": [], "contrast": [], "sharpness": []}
        self._owners: list[NDArray[np.int64]] = []
        self._sums: list[list[Predictions]] = [[] for _ in readers]

    def add(self, split: str, start: int, batch: dict[str, Any], shape: tuple[int, int]) -> None:
        """Takes a batch, whose images are compared by their central window of a shape."""
        numbered = np.array([bool(text) for text in batch["text"]], np.bool_)
        self._found.background += int((~numbered).sum())
        if not numbered.any():
            return
        kept = np.flatnonzero(numbered)
        keys = [picture_of(str(batch["key"][index])) for index in kept]
        images = np.asarray(batch["image"])[kept]
        new = []
        for place, (index, key) in enumerate(zip(kept.tolist(), keys, strict=True)):
            if key not in self._rows:
                self._rows[key] = len(self._rows)
                new.append(place)
                self._add_picture(key, split, start + index, batch, index)
        self._owners.append(np.array([self._rows[key] for key in keys], np.int64))
        self._measure(images[new], np.asarray(batch["crop_box"])[kept[new]], shape)
        for sums, one in zip(self._sums, self._readers, strict=True):
            sums.append(one.predict(images, keys, [split] * len(keys)))

    def _add_picture(self, key: str, split: str, place: int, batch: dict[str, Any], index: int) -> None:
        found, text = self._found, str(batch["text"][index])
        found.keys.append(key)
        found.texts.append(text)
        found.splits.append(split)
        found.places.append((split, place))
        found.order.append(text_by_place(text, batch["boxes"][index]) if batch["has_digit_boxes"][index] else text)

    def _measure(self, images: NDArray[np.uint8], crop_boxes: NDArray[np.int64], shape: tuple[int, int]) -> None:
        import cv2

        rows: list[tuple[Any, float, float]] = []
        for image in images:
            grey = to_channels(central(image, shape), 1)[:, :, 0]
            small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            rows.append((small, float(grey.std()), float(cv2.Laplacian(grey, cv2.CV_64F).var())))
        if rows:
            self._columns["small"].append(np.stack([row[0] for row in rows]))
            self._columns["contrast"].append(np.array([row[1] for row in rows]))
            self._columns["sharpness"].append(np.array([row[2] for row in rows]))
            self._columns["sizes"].append(crop_boxes[:, 2:] - crop_boxes[:, :2])

    def pictures(self) -> Pictures:
        """Returns the pictures.

        Raises:
          UserError: There is none.
        """
        if not self._rows:
            raise UserError("The dataset must have at least one number that is known.", 0)
        columns: dict[str, Any] = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        views = np.bincount(np.concatenate(self._owners), minlength=len(self._rows))
        return replace(self._found, **columns, views=views)

    def answers(self) -> list[Answers]:
        """Returns the answers of each reader, averaged over the examples of a picture."""
        owners = np.concatenate(self._owners)
        return [
            Answers.of(one.name, mean_predictions(parts, owners, len(self._rows)))
            for one, parts in zip(self._readers, self._sums, strict=True)
        ]


def central(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the central window of an image, (height, width, channels), no larger than a shape."""
    height, width = (min(size, limit) for size, limit in zip(image.shape, shape, strict=False))
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def mean_predictions(parts: Sequence[Predictions], owners: NDArray[np.int64], count: int) -> Predictions:
    """Returns the predictions of pictures: the mean probabilities of their examples, and the numbers that these give.

    Args:
      parts: Predictions of batches of examples; at least one.
      owners: (examples,) int64, index of the picture of each.
      count: Number of pictures, each with at least one example.
    """
    from trainer.scoring.decode import decode_predictions

    examples = np.bincount(owners, minlength=count).astype(np.float64)
    means = []
    for name in ("length_probabilities", "digit_probabilities"):
        values = np.concatenate([getattr(part, name) for part in parts])
        total = np.zeros((count, *values.shape[1:]))
        np.add.at(total, owners, values)
        means.append(total / examples.reshape(-1, *[1] * (total.ndim - 1)))
    with np.errstate(divide="ignore"):
        return decode_predictions(np.log(means[0]), np.log(means[1]), parts[0].labels)


def text_by_place(text: str, boxes: NDArray[np.floating]) -> str:
    """Returns the characters of a number from left to right, by the centres of their boxes.

    Boxes that are placed more above each other than beside each other are of a number that is written downwards, which
    stays as it is.

    Args:
      text: Number.
      boxes: ymin, xmin, ymax, xmax of each character, (longest, 4), padded.
    """
    placed = np.asarray(boxes, np.float64)[: len(text)]
    centres = (placed[:, 1] + placed[:, 3]) / 2, (placed[:, 0] + placed[:, 2]) / 2
    if np.ptp(centres[0]) <= np.ptp(centres[1]):
        return text
    return "".join(text[index] for index in np.argsort(centres[0], kind="stable"))
