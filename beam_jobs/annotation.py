"""The annotation of one number in a picture, and the dead letter of what cannot be used."""

import pickle
from array import array
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from operator import attrgetter

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox

NO_ANNOTATION = "no_annotation"
"""Reason of a picture that is there and has no label. It is no fault: such pictures never fail a job."""
OTHER_CLASS = "other_class"
"""Reason of a box around characters whose own class is none, as that of a plate. It is no fault either."""
LEAK = "leak"
"""Reason of a picture that is left out because it is in another split. It was asked for, so it is no fault."""
DELETED = "deleted"
"""Reason of a number that a correction has taken out of a stream. It was asked for, so it is no fault."""
DROPPED = "dropped"
"""Reason of a number that a reviewed list leaves out (`prepare --fix`). It was asked for, so it is no fault."""
BOX_OUTSIDE = "box_outside"
"""Reason of a number of which a character's box, or its own, lies outside the picture."""
NO_FAULTS = {
    NO_ANNOTATION: ("no label", "pictures without an annotation"),
    OTHER_CLASS: ("no number", "boxes around characters, of another class"),
    LEAK: ("left out", "pictures that another split has too"),
    DELETED: ("deleted", "numbers that a correction has taken out"),
    DROPPED: ("dropped", "numbers that the list of --fix leaves out"),
}
"""Reasons that never fail a job, each with its title and meaning in summaries."""


@dataclass(frozen=True)
class DeadLetter:
    """Reason for the rejection of a picture.

    Attributes:
      stage: Stage of the job that rejected it: annotation, picture or crop.
      reason: One word to count by, as `too_long`.
      detail: Rule that the picture breaks and the value received, as a sentence.
      no_number: Whether the source says that there is no number: in the complete picture, or in a box of another class.
        Without it, a number may be there that nobody can read. It is never written.
    """

    stage: str
    reason: str
    detail: str
    no_number: bool = field(default=False, compare=False)


class RejectedError(UserError):
    """A picture cannot become an example. Bugs raise other errors, which end the job."""

    def __init__(self, stage: str, reason: str, rule: str, received: object = None, *, no_number: bool = False) -> None:
        """Takes the stage, reason and `no_number` of the dead letter, and the rule and value of the message."""
        super().__init__(rule, received)
        self.letter = DeadLetter(stage, reason, str(self), no_number)


@dataclass(unsafe_hash=True)
class Annotation:
    """One number in a source picture: its text, and where it is. Treat it as frozen: `dataclasses.replace` changes one.

    Sources make millions, and a dataclass that is `frozen` takes eight times as long to make, as long as all else that
    most of them do for one.

    Attributes:
      subset: Name of the subset as published: train, test, extra.
      name: Name of the picture, unique in its subset: most often the path of its file, relative, with `/`.
      index: Position in the source's order, from 0: that of the entry in its subset.
      text: Number, in reading order. It is checked against the dataset's alphabet and longest length by `prepare`.
      boxes: Box of each character, in the order of `text`, in the picture's pixels; empty if they are not known.
      dead: Reason for the rejection of the annotation, or None.
      box: Box of the complete number, where the characters' boxes are not known; None for the complete picture.
      part: Position of the number among those of its picture, from 1; 0 if it is the only one.
      others: Boxes of the other numbers in the picture.
    """

    subset: str
    name: str
    index: int
    text: str
    boxes: tuple[BoundingBox, ...] = ()
    dead: DeadLetter | None = None
    box: BoundingBox | None = None
    part: int = 0
    others: tuple[BoundingBox, ...] = ()

    @property
    def picture(self) -> str:
        """Subset and picture: `train/123.png`."""
        return f"{self.subset}/{self.name}"

    @property
    def key(self) -> str:
        """Subset, picture and, if the picture has several numbers, the part: `train/123.png`, `train/456.png@2`."""
        return f"{self.picture}@{self.part}" if self.part else self.picture

    @property
    def placed(self) -> tuple[BoundingBox, ...]:
        """Boxes that the crop must hold: the characters', or the number's; empty for the complete picture."""
        return self.boxes or ((self.box,) if self.box else ())


_COLUMNS = ("subset", "name", "index", "text", "dead", "box", "part", "others")
"""Attributes of an annotation, without its boxes."""


def pack(annotations: list[Annotation]) -> bytes:
    """Returns annotations as one element for the runner to shuffle, 90 bytes for one of two digits.

    Column by column, with the edges of all boxes as numbers: a fifth of the processor time of objects that are pickled
    and compressed, which have half the size in long lists and as much in short ones.
    """
    boxes = [one.boxes for one in annotations]
    edges = array("d", chain.from_iterable(chain.from_iterable(boxes)))
    columns = [list(map(attrgetter(name), annotations)) for name in _COLUMNS]
    return pickle.dumps((columns, array("I", map(len, boxes)).tobytes(), edges.tobytes()), 5)


def unpack(packed: bytes) -> list[Annotation]:
    """Returns the annotations that `pack` packed in this job."""
    columns, sizes, content = pickle.loads(packed)  # noqa: S301  (as Beam's own coders do)
    counts, edges = array("I", sizes), iter(array("d", content))
    # Not through BoundingBox's own constructor, which is Python code.
    each = map(partial(tuple.__new__, BoundingBox), zip(edges, edges, edges, edges, strict=True))
    boxes = [tuple(islice(each, count)) for count in counts]
    return [
        Annotation(subset, name, index, text, placed, *rest)
        for subset, name, index, text, placed, *rest in zip(*columns[:4], boxes, *columns[4:], strict=True)
    ]
