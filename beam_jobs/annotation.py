"""What a source says of one picture, and what becomes of pictures that cannot be used."""

import pickle
import zlib
from dataclasses import dataclass

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox


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


def pack(annotations: list[Annotation]) -> bytes:
    """Returns annotations as a runner shuffles them: a sixth of the memory that as many elements would take."""
    return zlib.compress(pickle.dumps(annotations), 1)


def unpack(packed: bytes) -> list[Annotation]:
    """Returns the annotations that were packed, by this job."""
    annotations: list[Annotation] = pickle.loads(zlib.decompress(packed))  # noqa: S301  (as Beam's own coders do)
    return annotations
