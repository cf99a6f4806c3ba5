"""streetdigits.load: a reader that finds numbers first, or reads the place that it is given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import streetdigits
from tfrecords.errors import UserError
from trainer.finding_reader import FindingReader
from trainer.photo_reader import PhotoReader
from trainer.pretrained import DIRECTORY, FINDER
from trainer.reader import Reader, picture_pixels


@pytest.fixture(scope="module")
def reader() -> streetdigits.Reader:
    return streetdigits.load()


@pytest.fixture(scope="module")
def street(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn numbers on a wall."""
    wall = np.full((200, 260, 3), (150, 140, 130), np.uint8)
    for name, (top, left) in (("1.png", (20, 20)), ("2.png", (110, 140))):
        number = np.asarray(Image.open(drawn / "test" / name).convert("RGB").resize((100, 60)))
        wall[top : top + 60, left : left + 100] = number
    path = tmp_path_factory.mktemp("street") / "street.png"
    Image.fromarray(wall).save(path)
    return path


def test_the_surest_number_is_found_with_its_box_as_photo_reader_finds_it(
    reader: streetdigits.Reader, street: Path
) -> None:
    found = reader.read_all(street)
    assert isinstance(reader, FindingReader) and repr(reader).endswith("pixels, found in pictures>")
    assert reader.read(street) == reader.read(street.read_bytes()) == found[0]
    numbers = PhotoReader.load(reader.photos.finder.run, Reader(reader.run, "lite"), "lite").read(  # type: ignore[attr-defined]
        picture_pixels(street)
    )
    assert [one.text for one in found] == [number.text for number in numbers] != []
    for one, number in zip(found, numbers, strict=True):
        assert one.box and number.box
        left, top, width, height = one.box
        assert (top, left, top + height, left + width) == pytest.approx(tuple(number.box))
        assert (one.confidence, one.box_confidence) == (number.confidence, number.box_confidence)
        assert one.digits == tuple(map(int, one.text))


def test_a_box_that_is_given_is_read_as_without_a_finder(reader: streetdigits.Reader, street: Path) -> None:
    box = (20, 20, 100, 60)
    plain = streetdigits.load("pretrained", finder=None)
    assert not isinstance(plain, FindingReader)
    found = reader.read(street, box=box)
    assert found == plain.read(street, box) and found.text and (found.box, found.box_confidence) == (box, 1.0)
    whole = plain.read(street)
    assert whole.box is None and plain.read_all(street) == ([whole] if whole.text else [])


def test_a_picture_without_a_number_has_none(reader: streetdigits.Reader) -> None:
    wall = np.full((120, 160, 3), 90, np.uint8)
    assert reader.read(wall) == streetdigits.Prediction("", 0.0, ()) and reader.read_all(wall) == []
    with pytest.raises(UserError, match="A picture must be a path"):
        reader.read(None)  # type: ignore[arg-type]


def test_a_finder_goes_with_any_reader_and_other_readers_have_none_of_themselves(untrained: Path) -> None:
    digit = streetdigits.load("pretrained-mnist")
    assert not isinstance(digit, FindingReader) and digit.runtime == "lite"
    own = streetdigits.load(untrained, finder=FINDER.directory)
    assert isinstance(own, FindingReader) and own.photos.finder.run.directory == FINDER.directory  # type: ignore[attr-defined]
    assert own.runtime == "tensorflow" and own.run.directory == untrained
    with pytest.raises(UserError, match="must be the run of a model that can find numbers"):
        streetdigits.load(finder=DIRECTORY)


def test_the_keras_model_is_there_with_its_first_use() -> None:
    reader = streetdigits.load("pretrained-mnist")
    images = np.random.default_rng(1).integers(0, 256, (2, *reader.run.image_shape), np.uint8)
    logits = reader.forward(images)["digit_logits"].numpy()
    assert reader.predict(images).digits[:, 0].tolist() == logits[:, 0].argmax(-1).tolist()
    assert reader.model.input_shape[1:] == reader.run.image_shape
