"""Crops without a digit: beside the number, as many as asked for, and read as numbers of length 0."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare.backgrounds import background_box, has_background
from tests.examples import PAD
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import find_errors
from tfrecords.images.crop import BoundingBox


@pytest.mark.parametrize(
    "boxes",
    [
        [BoundingBox(10, 30, 40, 50), BoundingBox(12, 52, 41, 70)],
        [BoundingBox(-5, -5, 50.5, 60.2)],
        [BoundingBox(0, 0, 60, 80.0)],
    ],
)
def test_a_background_lies_in_the_picture_and_beside_every_digit(boxes: list[BoundingBox]) -> None:
    picture = np.zeros((60, 100, 3), np.uint8)
    found = [background_box(f"train/{number}.png", 0, boxes, picture, 5) for number in range(200)]
    assert len(set(found)) > 100
    for box in found:
        assert box is not None
        assert 0 <= box.ymin < box.ymax <= 60 and 0 <= box.xmin < box.xmax <= 100
        assert min(box.height, box.width) >= 8 and all(edge == int(edge) for edge in box)
        for digit in boxes:
            assert min(box.ymax, digit.ymax) <= max(box.ymin, digit.ymin) or min(box.xmax, digit.xmax) <= max(
                box.xmin, digit.xmin
            )


def test_a_background_may_be_as_wide_as_the_longest_number() -> None:
    wall = np.zeros((30, 2000, 1), np.uint8)

    def widest(max_length: int) -> float:
        found = [background_box(str(number), 0, [BoundingBox(0, 0, 1, 1)], wall, max_length) for number in range(99)]
        return max(box.width / box.height for box in found if box)

    assert widest(1) < 1 < widest(5) < 2.6 < widest(9) < 4.6


def _deviation(box: BoundingBox | None, picture: np.ndarray) -> float:
    assert box
    return float(picture[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)].std())


def test_half_of_the_backgrounds_are_where_the_picture_has_most_contrast() -> None:
    picture = np.full((100, 300, 3), 90, np.uint8)
    picture[40:60, 200:230] = np.random.default_rng(0).integers(0, 256, (20, 30, 1))
    boxes = [BoundingBox(30, 20, 70, 60)]
    found = [background_box(str(number), 0, boxes, picture, 5) for number in range(300)]
    busy = np.mean([_deviation(box, picture) > 0 for box in found])
    plain = np.mean([_deviation(background_box(str(n), 0, boxes, picture * 0, 5), picture) > 0 for n in range(300)])
    assert plain + 0.15 < busy < 0.95


def test_a_picture_that_its_number_fills_has_no_background() -> None:
    assert background_box("train/1.png", 0, [BoundingBox(7, 7, 53, 93)], np.zeros((60, 100, 3), np.uint8), 5) is None


def test_the_share_is_that_of_the_pictures_and_a_larger_one_has_the_same_and_more() -> None:
    keys = [f"train/{number}.png" for number in range(4000)]
    few, many = ({key for key in keys if has_background(key, 3, share)} for share in (0.1, 0.3))
    assert few < many and len(few) == pytest.approx(400, abs=60) and len(many) == pytest.approx(1200, abs=90)
    assert not any(has_background(key, 3, 0.0) for key in keys) and all(has_background(key, 3, 1.0) for key in keys)


@pytest.fixture(scope="module")
def with_backgrounds(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("backgrounds") / "records"
    command = ["prepare", "--source", "svhn", "--input", str(drawn), "--output", str(output), "--backgrounds", "0.5"]
    assert main("beam_jobs", "", COMMANDS, [*command, "--jitters", "2", "--seed", "3"]) == 0
    return output


def test_backgrounds_are_examples_without_a_number_in_every_reader(with_backgrounds: Path) -> None:
    manifest = Manifest.load(with_backgrounds)
    assert manifest.config["backgrounds"] == 0.5
    assert not list(find_errors(with_backgrounds, manifest))
    for split, windows in (("train", 2), ("test", 1)):
        examples = tfrecords.open(with_backgrounds, split)
        empty = [example for example in examples if not example.length]
        pictures = manifest.split(split).pictures
        assert 0.2 * pictures < len(empty) / windows < 0.8 * pictures
        assert len(examples) == windows * pictures + len(empty)
        for example in empty:
            assert example.text == "" and "#background" in example.key
            assert (example.digits == PAD).all() and not example.boxes.any()
        batch = examples.batch(range(len(examples)))
        assert batch["length"].tolist().count(0) == len(empty) == batch["text"].tolist().count("")


def test_the_other_examples_are_those_of_a_dataset_without_backgrounds(with_backgrounds: Path, drawn: Path) -> None:
    plain = with_backgrounds.parent / "plain"
    command = ["prepare", "--source", "svhn", "--input", str(drawn), "--output", str(plain), "--jitters", "2"]
    assert main("beam_jobs", "", COMMANDS, [*command, "--seed", "3"]) == 0
    assert "backgrounds" not in Manifest.load(plain).config
    ours = {example.key: example for example in tfrecords.open(with_backgrounds, "train") if example.length}
    for example in tfrecords.open(plain, "train"):
        np.testing.assert_array_equal(ours.pop(example.key).image, example.image)
    assert not ours


def test_backgrounds_of_pictures_without_a_box_are_worth_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.png", "2.png"):
        Image.new("L", (20, 20)).save(tmp_path / name)
    (tmp_path / "numbers.csv").write_text("file_name,text\n1.png,1\n2.png,2\n")
    command = ["prepare", "--source", "table", "--input", str(tmp_path / "numbers.csv"), "--backgrounds", "1"]
    assert main("beam_jobs", "", COMMANDS, [*command, "--output", str(tmp_path / "records")]) == 0
    line = "warning: no number has a box, so no crop without a digit can be cut (--backgrounds)\n"
    assert line in capsys.readouterr().err
    assert len(tfrecords.open(tmp_path / "records", "train")) == 2
