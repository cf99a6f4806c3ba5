"""Annotations as one element, packed and unpacked."""

from beam_jobs.annotation import Annotation, RejectedError, pack, unpack
from tfrecords.images.crop import BoundingBox

_LETTER = RejectedError("annotation", "bad_box", "train/2.png: A box must have a size.", 0).letter
_ALL = [
    Annotation("train", "1.png", 0, "12", (BoundingBox(1.5, 2.0, 3.25, 4.0), BoundingBox(0.1, 0.2, 0.3, 1e9))),
    Annotation("train", "2.png", 1, "", dead=_LETTER),
    Annotation("b-1@test", "ein Bild/3.png", 2, "7", box=BoundingBox(0.0, 0.0, 9.0, 9.0), part=2),
    Annotation("test", "4.png", 3, "345", tuple(BoundingBox(0.0, i, 1.0, i + 1.0) for i in range(3)), part=1),
    Annotation("test", "5.png", 4, "9", others=(BoundingBox(0.0, 1.0, 2.0, 3.0),)),
]


def test_packed_annotations_come_back_with_every_attribute() -> None:
    found = unpack(pack(_ALL))
    assert found == _ALL
    assert all(type(box) is BoundingBox for one in found for box in one.boxes)
    assert [one.key for one in found] == [one.key for one in _ALL]


def test_no_annotations_are_an_element_too() -> None:
    assert unpack(pack([])) == []


def test_an_annotation_may_have_any_number_of_boxes() -> None:
    many = Annotation("train", "1.png", 0, "1", tuple(BoundingBox(0.0, 0.0, 1.0, float(i)) for i in range(70_000)))
    assert unpack(pack([many, _ALL[0]])) == [many, _ALL[0]]
