"""Show: a sheet in the format that its name says, or a refusal."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.commands.show import _drawable, draw_sheet
from tfrecords.record.labels import Labels
from tfrecords.record.schema import DigitExample


@pytest.mark.parametrize(
    ("name", "kind"), [("my.jpg", "JPEG"), ("my.JPEG", "JPEG"), ("my.png", "PNG"), ("a.jpg.png", "PNG")]
)
def test_the_sheet_has_the_format_of_its_suffix(records: Path, tmp_path: Path, name: str, kind: str) -> None:
    options = ["--count", "2", "--output", str(tmp_path / name)]
    assert main("tfrecords", "", COMMANDS, ["show", str(records), *options]) == 0
    with Image.open(tmp_path / name) as sheet:
        assert sheet.format == kind


def _long_number(has_boxes: bool) -> DigitExample:
    """Returns a black image of nine characters, each with a box of 4 x 4 pixels below the last, if boxes are known."""
    boxes = np.array([(5 * row, 2, 5 * row + 4, 6) for row in range(9)], np.float32) * has_boxes
    image, pair = np.zeros((50, 10, 1), np.uint8), np.array([0, 0])
    letters = "京123456789-"
    number = Labels(9, letters).digits("京12345-67")
    return DigitExample(
        "train/é.png#0", image, number, 9, np.array([0, 0, 9, 9]), pair, pair, boxes, has_boxes, letters
    )


def test_every_box_of_a_long_number_is_drawn_and_none_that_is_not_known() -> None:
    drawn = {has: np.asarray(draw_sheet([_long_number(has)] * 5, 1, True)) for has in (True, False)}
    image = {has: sheet[8:58, 8:18] for has, sheet in drawn.items()}
    assert not image[False].any()
    assert [bool(image[True][5 * row, 3].any()) for row in range(9)] == [True] * 9
    assert (image[True][25, 3] == image[True][0, 3]).all() and (image[True][5, 3] != image[True][0, 3]).any()
    # Nine characters are wider than the image: the next image is to the right of them.
    assert drawn[True].shape[1] > 5 * 80


def test_a_character_that_the_font_lacks_is_its_code() -> None:
    font = ImageFont.load_default(18)
    assert _drawable("京A-12é", font) == "<4EAC>A-12<E9>"


@pytest.mark.parametrize("name", ["my.txt", "my", "my.gif", "my.png.bak", "folder.png"])
def test_a_file_of_another_format_and_a_folder_are_refused(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "kept").touch()
    assert main("tfrecords", "", COMMANDS, ["show", str(records), "--output", str(tmp_path / name)]) == 1
    rule = "error: --output must be a file that ends in .png, .jpg, .jpeg. Received: "
    assert capsys.readouterr().err == f"{rule}{tmp_path / name}\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.png", "kept"]
