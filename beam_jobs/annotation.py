"""The annotation of one picture, and the dead letter of a picture that cannot be used."""

import pickle
import zlib
from dataclasses import dataclass

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox


@dataclass(frozen=True)
class DeadLetter:
    """Reason for the rejection of a picture.

    Attributes:
      stage: Stage of the job that rejected it: annotation, picture or crop.
      reason: One word to count by, as `too_long`.
      detail: Rule that the picture breaks and the value received, as a sentence.
    """

    stage: str
    reason: str
    detail: str


class RejectedError(UserError):
    """A picture cannot become an example. Bugs raise other errors, which end the job."""

    def __init__(self, stage: str, reason: str, rule: str, received: object = None) -> None:
        """Takes the stage and reason of the dead letter, and the rule and value of the message."""
        super().__init__(rule, received)
        self.letter = DeadLetter(stage, reason, str(self))


@dataclass(frozen=True)
class Annotation:
    """All digits of one source picture.

    Attributes:
      subset: Name of the subset as published: train, test, extra.
      name: Name of the picture's file in its subset's folder.
      index: Position in the source's order, from 0.
      digits: Digits, 0..9 each, in reading order.
      boxes: Boxes of the digits, in the same order, in the picture's pixels.
      dead: Reason for the rejection of the annotation, or None.
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


def pack(annotations: list[Annotation]) -> bytes:
    """Returns annotations as one element for the runner to shuffle: a sixth of the memory of as many elements."""
    return zlib.compress(pickle.dumps(annotations), 1)


def unpack(packed: bytes) -> list[Annotation]:
    """Returns the annotations that `pack` packed in this job."""
    annotations: list[Annotation] = pickle.loads(zlib.decompress(packed))  # noqa: S301  (as Beam's own coders do)
    return annotations
