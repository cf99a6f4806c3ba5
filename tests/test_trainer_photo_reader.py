"""A finder and a reader together, with stand-ins that look at colours."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox, CropSpec
from trainer.finding.boxes import Found
from trainer.photo_reader import PhotoReader
from trainer.reader import Reader
from trainer.scoring.decode import decode_predictions, mean_of_views

_BOXES = (BoundingBox(10, 20, 30, 60), BoundingBox(50, 70, 60, 90), BoundingBox(66, 4, 76, 34))
_GREENS = (200, 100, 50)


class FakeFinder:
    """Finds the rectangles of a photo by their green, which tells them apart."""

    def find(self, picture: NDArray[np.uint8]) -> list[Found]:
        found = []
        for green, confidence in zip(_GREENS, (0.9, 0.6, 0.5), strict=True):
            rows, columns = np.nonzero(picture[..., 1] == green)
            if len(rows):
                box = BoundingBox(*map(float, (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)))
                found.append(Found(box, confidence))
        return found


class FakeReader:
    """Reads 20 or 1 by the green of an image whose upper half is redder than its lower one; else no number."""

    run = SimpleNamespace(crop=CropSpec(growth=0.0, crop_size=16, record_size=16), image_shape=(16, 16, 3))

    def predict(self, images: NDArray[np.uint8], views: int = 1) -> Any:
        length, digits = np.full((len(images), 7), -9.0), np.full((len(images), 5, 10), -9.0)
        for index, image in enumerate(images):
            is_upright = image[:8, :, 0].mean() > image[8:, :, 0].mean() + 50
            green = int(image[..., 1].max())
            text = {_GREENS[0]: "20", _GREENS[1]: "1"}.get(green, "") if is_upright else ""
            length[index, len(text)] = 0
            for place, character in enumerate(text):
                digits[index, place, int(character)] = 0
        return decode_predictions(mean_of_views(length, views), mean_of_views(digits, views))


def _photo(*greens: int) -> NDArray[np.uint8]:
    """Returns a photo with a rectangle of each green, red in its upper half."""
    photo = np.zeros((80, 100, 3), np.uint8)
    for green in greens:
        ymin, xmin, ymax, xmax = map(int, _BOXES[_GREENS.index(green)])
        photo[ymin:ymax, xmin:xmax, 1] = green
        photo[ymin : (ymin + ymax) // 2, xmin:xmax, 0] = 255
    return photo


def _read(photo: NDArray[np.uint8], rotate: str = "none") -> list[tuple[str, BoundingBox | None, int]]:
    numbers = PhotoReader(FakeFinder(), cast(Reader, FakeReader())).read(photo, rotate)
    return [(number.text, number.box, number.turned) for number in numbers]


def test_all_numbers_are_read_the_most_confident_first() -> None:
    assert _read(_photo(*_GREENS[:2])) == [("20", _BOXES[0], 0), ("1", _BOXES[1], 0)]


def test_further_numbers_of_a_photo_count_from_a_confidence_on_and_the_surest_always() -> None:
    reader = PhotoReader(FakeFinder(), cast(Reader, FakeReader()), least=0.95)
    assert [number.text for number in reader.read(_photo(*_GREENS[:2]))] == ["20"]


def test_a_place_that_the_reader_takes_for_no_number_is_left_out() -> None:
    assert _read(_photo(_GREENS[1], _GREENS[2])) == [("1", _BOXES[1], 0)]


def test_a_photo_without_a_place_is_read_as_a_whole() -> None:
    photo = np.full((20, 30, 3), _GREENS[0], np.uint8)
    photo[:, 0, 1] = 0  # no rectangle of the finder's: it would fill the photo
    whole = np.where(photo == _GREENS[0], _GREENS[0], 0).astype(np.uint8)
    whole[10:, :, 0] = 0
    reader = PhotoReader(SimpleNamespace(find=lambda picture: []), cast(Reader, FakeReader()))
    (number,) = reader.read(whole)
    assert (number.text, number.box, number.box_confidence) == ("20", None, 1.0)
    assert reader.read(np.zeros((20, 30, 3), np.uint8)) == []


def test_a_box_without_a_whole_pixel_is_left_out() -> None:
    outside = Found(BoundingBox(-9.0, 0.0, 0.2, 9.0), 0.9)
    reader = PhotoReader(SimpleNamespace(find=lambda picture: [outside]), cast(Reader, FakeReader()))
    assert reader.read(np.zeros((20, 30, 3), np.uint8)) == []


def test_a_number_that_is_unsure_by_its_place_and_its_text_together_is_left_out() -> None:
    (place,) = FakeFinder().find(_photo(_GREENS[0]))
    for confidence, texts in ((0.2, ["20"]), (0.09, [])):
        unsure = SimpleNamespace(find=lambda picture, each=confidence: [Found(place.box, each)])
        numbers = PhotoReader(unsure, cast(Reader, FakeReader())).read(_photo(_GREENS[0]))
        assert [number.text for number in numbers if number.box] == texts


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_on_its_side_is_turned_only_if_asked_and_its_boxes_are_those_of_the_photo(quarters: int) -> None:
    upright = _photo(*_GREENS[:2])
    photo = np.ascontiguousarray(np.rot90(upright, -quarters))
    assert _read(photo) == []
    numbers = _read(photo, "auto")
    assert [(text, turned) for text, _, turned in numbers] == [("20", 90 * quarters), ("1", 90 * quarters)]
    for (_, box, _), green in zip(numbers, _GREENS, strict=False):
        rows, columns = np.nonzero(photo[..., 1] == green)
        assert box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_an_upright_photo_is_not_turned() -> None:
    assert _read(_photo(_GREENS[0]), "auto") == [("20", _BOXES[0], 0)]


def test_another_word_is_refused() -> None:
    with pytest.raises(UserError, match="rotate must be one of none, auto"):
        _read(_photo(), "left")
