"""Galleries of complete pictures with boxes: which are shown, and how they are drawn."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox
from tfrecords.images.marks import Mark, draw_marks
from tfrecords.pages.page import jpeg_data_uri
from tfrecords.record.scene import SceneExample
from trainer.report.gallery import load_examples

MOST_SHOWN = 12
"""Largest number of pictures in a gallery."""
_SIDE = 400
"""Longest side of a picture on a page, pixels: its boxes' texts are readable on a phone then."""
_QUALITY = 80


@dataclass(frozen=True)
class Card:
    """A picture of a gallery with its words.

    Attributes:
      key: Key of the picture.
      title: What happened, in a few words.
      facts: Names and values below it.
      marks: Boxes to draw, pixels of the source picture.
      is_right: Whether nothing went wrong.
    """

    key: str
    title: str
    facts: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]
    is_right: bool = False


@dataclass(frozen=True)
class Group:
    """A gallery.

    Attributes:
      name: Name of the kind, for its anchor.
      title: Heading.
      explanation: Sentence about what it shows, and in which order.
      total: Number of cards that there would be.
      cards: Those that are shown, `MOST_SHOWN` at most.
    """

    name: str
    title: str
    explanation: str
    total: int
    cards: tuple[Card, ...]

    @classmethod
    def first(cls, name: str, title: str, explanation: str, cards: Sequence[Card]) -> "Group":
        """Returns the gallery of the first of some cards."""
        return cls(name, title, explanation, len(cards), tuple(cards[:MOST_SHOWN]))


def sample_order(key: str) -> bytes:
    """Returns what to sort by for an order that says nothing about a picture and never changes."""
    return hashlib.sha256(key.encode()).digest()


def load_scenes(
    data_dir: Place | None, split: str, groups: Iterable[Group], snapshot: int | None = None
) -> tuple[dict[str, SceneExample], list[str]]:
    """Returns the scenes of all cards by key, and a line if some are missing.

    Args:
      data_dir: Dataset directory; None for no scenes, and no line.
      split: Split of the pictures.
      groups: Galleries.
      snapshot: Number of a snapshot, if the directory is a stream.
    """
    keys = {card.key for group in groups for card in group.cards}
    if not keys or data_dir is None:
        return {}, []
    try:
        found = load_examples(data_dir, split, keys, snapshot)
    except (UserError, OSError) as error:
        return {}, [f"The galleries have no pictures: {one_line(error)}"]
    scenes = {key: each for key, each in found.items() if isinstance(each, SceneExample)}
    absent = len(keys - scenes.keys())
    complaint = f"{data_dir}, split {split}, does not have {absent} of the galleries' {len(keys)} pictures."
    return scenes, [complaint] if absent else []


def draw_cards(groups: Iterable[Group], scenes: Mapping[str, SceneExample]) -> dict[Card, str]:
    """Returns the URIs of the cards whose scenes are there."""
    return {card: card_uri(scenes[card.key], card.marks) for g in groups for card in g.cards if card.key in scenes}


def card_uri(scene: SceneExample, marks: Iterable[Mark]) -> str:
    """Returns a scene's picture with boxes as a URI: see `picture_uri`."""
    height, width = scene.content_size
    return picture_uri(scene.image[:height, :width], marks, scene.content_size / scene.source_size)


def picture_uri(
    picture: NDArray[np.uint8], marks: Iterable[Mark], scale: NDArray[np.floating] | tuple[float, float] = (1.0, 1.0)
) -> str:
    """Returns a picture at the size of a page, with boxes, as a URI.

    Args:
      picture: Pixels, (height, width, 1 or 3) uint8.
      marks: Boxes.
      scale: Pixels of the picture per pixel of the boxes, down and right.
    """
    height, width = picture.shape[:2]
    factor = _SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    large = np.asarray(Image.fromarray(to_channels(picture, 3)).resize(size, Image.Resampling.BICUBIC))
    drawn = draw_marks(large, [mark._replace(box=_scaled(mark.box, np.asarray(scale) * factor)) for mark in marks])
    return jpeg_data_uri(np.asarray(drawn), _QUALITY)


def _scaled(box: BoundingBox, scale: NDArray[np.floating]) -> BoundingBox:
    return BoundingBox(*(float(edge * scale[axis % 2]) for axis, edge in enumerate(box)))
