"""What `predict` prints and draws of photos whose numbers it has found."""

from pathlib import Path

import numpy as np
from PIL import Image

from tfrecords.images.crop import BoundingBox
from trainer.commands.predict_found import Drawings, draw, found_rows
from trainer.photo_reader import PhotoNumber
from trainer.scoring.decode import decode_predictions

_RED = (230, 60, 60)


def _numbers() -> list[PhotoNumber]:
    """Returns the numbers 20 and 7, the first in the middle of a photo, the second at its upper edge."""
    length, digits = np.full((2, 7), -9.0), np.full((2, 5, 10), -9.0)
    for index, text in enumerate(("20", "7")):
        length[index, len(text)] = 0
        for place, character in enumerate(text):
            digits[index, place, int(character)] = 0
    predictions = decode_predictions(length, digits)
    boxes = (BoundingBox(40.0, 30.0, 60.0, 80.125), BoundingBox(0.0, 5.0, 12.0, 15.0))
    return [PhotoNumber(predictions, index, box, 0.9 - index / 2) for index, box in enumerate(boxes)]


def test_a_row_says_where_the_number_is() -> None:
    (row,) = found_rows("a.png", _numbers(), is_all=False)
    assert (row["photo"], row["number"], row["box"]) == ("a.png", "20", [30.0, 40.0, 50.12, 20.0])
    assert (row["box_confidence"], row["turned"]) == (0.9, 0)


def test_all_numbers_give_a_row_each() -> None:
    assert [row["number"] for row in found_rows("a.png", _numbers(), is_all=True)] == ["20", "7"]


def test_a_photo_without_a_number_gives_a_row_that_says_so() -> None:
    (row,) = found_rows("a.png", [], is_all=True)
    assert (row["photo"], row["number"], row["length"], row["confidence"], row["box"]) == ("a.png", "", 0, None, None)


def test_a_photo_that_was_read_as_a_whole_has_no_box() -> None:
    whole = PhotoNumber(_numbers()[0].predictions, 0, None)
    (row,) = found_rows("a.png", [whole], is_all=True)
    assert row["box"] is None


def test_boxes_are_drawn_where_they_are_and_the_photo_stays_as_it_is_elsewhere() -> None:
    photo = np.full((100, 120, 3), 90, np.uint8)
    drawn = np.asarray(draw(photo, _numbers()))
    assert drawn.shape == photo.shape and (photo == 90).all()
    for row, column in ((40, 50), (60, 50), (50, 30), (50, 80), (0, 10), (6, 5), (6, 15)):
        assert tuple(drawn[row, column]) == _RED, (row, column)
    assert (drawn[80:, 100:] == 90).all()
    # Above the first box, and below the second, which has no room above it.
    assert (drawn[30:38, 30:70] == _RED).all(-1).any() and (drawn[14:24, 5:25] == _RED).all(-1).any()


def test_photos_of_one_name_are_written_next_to_each_other(tmp_path: Path) -> None:
    drawings = Drawings(tmp_path / "drawn")
    photo = np.zeros((40, 60, 3), np.uint8)
    files = [drawings.write(name, photo, []) for name in ("a/1.jpg", "b/1.png", "c/2.jpg")]
    assert [file.name for file in files] == ["1.png", "1-2.png", "2.png"] and drawings.count == 3
    with Image.open(files[0]) as image:
        assert image.size == (60, 40)
