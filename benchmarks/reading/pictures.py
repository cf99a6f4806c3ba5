"""Labelled pictures to read: of any source of `prepare`, or the images of a dataset directory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import tfrecords
from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.job.given import GivenData, find_subsets
from beam_jobs.job.pictures import Read, picture_reader, read_picture
from beam_jobs.prepare.assign import Fractions, split_of
from beam_jobs.sources import load_source
from beam_jobs.sources.base import SourceOptions
from tfrecords.dataset.manifest import Manifest
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox, crop_box
from tfrecords.images.decode import cut, decode_picture
from trainer.run.directory import dataset_crop

_SEED = 0
"""Seed of `prepare`, by which it draws splits."""
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class Labelled:
    """A picture whose number is known.

    Attributes:
      key: Key of the number, as records have it, for messages.
      text: Number, digits only.
      picture: Pixels, (height, width, 3) uint8 RGB.
      boxes: Boxes of the digits or of the number, in pixels; empty if they are not known.
      split: Split that `prepare` gives the picture.
      is_alone: Whether it is the only number of its picture, so that a reader needs no box to know which is meant.
      margin: Margin of the picture around the number, as a fraction of its size, where the picture is a crop.
    """

    key: str
    text: str
    picture: NDArray[np.uint8]
    boxes: tuple[BoundingBox, ...] = ()
    split: str = "train"
    is_alone: bool = True
    margin: float = 0.0

    def crop(self, margin: float) -> NDArray[np.uint8]:
        """Returns the part of the picture in the boxes' union, grown by a fraction of its size.

        Raises:
          UserError: A box lies outside the picture.
        """
        box = crop_box(self.boxes, margin, *self.picture.shape[:2])
        part = self.picture[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
        return np.ascontiguousarray(part)


@dataclass
class Pictures:
    """Pictures of an input, read one by one, and what was left out.

    Attributes:
      total: Number of entries that are read at most.
      left_out: Number of entries that were left out so far, by reason.
    """

    total: int
    labelled: Iterator[Labelled]
    left_out: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Labelled]:
        return self.labelled


def pictures_of_source(
    data: GivenData, options: SourceOptions, test_fraction: float, only_test: bool, limit: int | None
) -> Pictures:
    """Returns the labelled pictures of a source; bad entries and numbers of other characters are left out and counted.

    Args:
      data: What to read.
      options: How its labels are read.
      test_fraction: Share of the training pictures that `prepare --test-fraction` draws for test.
      only_test: Whether to return the split test alone.
      limit: Largest number of entries, drawn as `prepare --limit` draws its pictures; None for all.

    Raises:
      UserError: The input cannot be read.
    """
    subsets, source = find_subsets(data, options), load_source(data.source)
    fractions = Fractions(0.0, test_fraction)
    found: list[tuple[Annotation, str]] = []
    for subset in subsets:
        for each in source.read_annotations(subset, 0, subset.entries, "left", options):
            split = split_of(each.subset, each.picture, _SEED, fractions)
            if split == "test" or not only_test:
                found.append((each, split))
    if limit is not None:
        found = sorted(found, key=lambda each: stable_digest(f"{_SEED}/limit/{each[0].picture}"))[:limit]
    read = picture_reader(data.source, subsets)
    left_out: Counter[str] = Counter()

    def labelled() -> Iterator[Labelled]:
        for annotation, split in found:
            reason = _unfit(annotation)
            if not reason:
                try:
                    yield _load(annotation, split, read)
                    continue
                except UserError as error:
                    reason = error.letter.reason if isinstance(error, RejectedError) else "unreadable"
            left_out[reason] += 1

    return Pictures(len(found), labelled(), left_out)


def _unfit(annotation: Annotation) -> str:
    """Returns the reason to leave an annotation out; empty for none."""
    if annotation.dead:
        return annotation.dead.reason
    if not annotation.text:
        return "no number"
    return "" if _DIGITS.issuperset(annotation.text) else "other characters than digits"


def _load(annotation: Annotation, split: str, read: Read) -> Labelled:
    data = read_picture(annotation.key, lambda: read(annotation.picture))
    pixels = data if isinstance(data, np.ndarray) else decode_picture(data, annotation.key)
    picture = to_channels(pixels, 3)
    crop_box(annotation.placed, 0.0, *picture.shape[:2])  # a box outside is left out, whatever is read of it
    is_alone = not annotation.part and not annotation.others
    return Labelled(annotation.key, annotation.text, picture, annotation.placed, split, is_alone)


def pictures_of_dataset(directory: str, split: str, limit: int | None) -> Pictures:
    """Returns the images of a split of a dataset directory, stretched back to the shape of what was cut out.

    Args:
      directory: Dataset directory, or its address.
      split: Split to read.
      limit: Largest number of images, the first ones; None for all.

    Raises:
      UserError: It is no dataset, or has no such split.
    """
    examples = tfrecords.open(directory, split)
    crop = dataset_crop(Manifest.load(Place(directory)))
    left_out: Counter[str] = Counter()
    total = min(len(examples), limit or len(examples))

    def labelled() -> Iterator[Labelled]:
        for index in range(total):
            example = examples[index]
            if not example.text or not _DIGITS.issuperset(example.text):
                left_out["other characters than digits" if example.text else "no number"] += 1
                continue
            image = to_channels(np.asarray(example.image), 3)
            is_whole = image.shape[:2] == crop.crop_shape != crop.record_shape
            shape = _as_cut(image.shape[:2], example.crop_box)
            stretched = cut(image, BoundingBox(0, 0, *image.shape[:2]), shape)
            margin = crop.growth if is_whole else 0.0
            yield Labelled(example.key, example.text, stretched, split=split, margin=margin)

    return Pictures(total, labelled(), left_out)


def _as_cut(shape: Sequence[int], box: NDArray[np.int64]) -> tuple[int, int]:
    """Returns the height and width of an image with the aspect ratio of its crop, at least as large as the image."""
    height, width = (int(box[2] - box[0]), int(box[3] - box[1]))
    scale = max(shape[0] / height, shape[1] / width)
    return round(height * scale), round(width * scale)
