"""What a source says of one picture, and what becomes of pictures that cannot be used."""

from dataclasses import dataclass

from tfrecords.boxes import BoundingBox
from tfrecords.errors import UserError

Packed = tuple[str, str, int, tuple[int, ...], tuple[float, ...], tuple[str, str, str] | None]
"""Subset, name, index, digits, the boxes' edges one after the other, and stage, reason and detail of a dead letter."""


@dataclass(frozen=True)
class DeadLetter:
    """Why a picture was rejected.

    Attributes:
      stage: where: annotation, picture or crop.
      reason: what rule it broke, one word to count by: `too_long`.
      detail: for people: the rule and what was received.
    """

    stage: str
    reason: str
    detail: str


class RejectedError(UserError):
    """A picture that cannot become an example; bugs raise other errors, and end the job."""

    def __init__(self, stage: str, reason: str, rule: str, received: object = None) -> None:
        super().__init__(rule, received)
        self.letter = DeadLetter(stage, reason, str(self))


@dataclass(frozen=True)
class Annotation:
    """All digits of one source picture.

    Attributes:
      subset: as published: train, test, extra.
      name: of the picture's file in its subset's folder.
      index: place in the source's order, from 0.
      digits: 0..9 each, in reading order.
      boxes: of the digits, in the same order, in the picture's pixels.
      dead: why it is rejected already, or None.
    """

    subset: str
    name: str
    index: int
    digits: tuple[int, ...]
    boxes: tuple[BoundingBox, ...]
    dead: DeadLetter | None = None

    @property
    def key(self) -> str:
        """Subset and picture: `train/123.png`."""
        return f"{self.subset}/{self.name}"

    def pack(self) -> Packed:
        """Returns the values as plain tuples, which Beam's coder stores in a third of the bytes of an object."""
        edges = tuple(edge for box in self.boxes for edge in box)
        dead = (self.dead.stage, self.dead.reason, self.dead.detail) if self.dead else None
        return self.subset, self.name, self.index, self.digits, edges, dead

    @classmethod
    def unpack(cls, packed: Packed) -> "Annotation":
        """Returns the annotation that was packed."""
        subset, name, index, digits, edges, dead = packed
        boxes = tuple(BoundingBox(*edges[start : start + 4]) for start in range(0, len(edges), 4))
        return cls(subset, name, index, digits, boxes, DeadLetter(*dead) if dead else None)
