"""Numbers read without a box: what becomes of each, the scores, and the page of failures."""

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.pages import Page, show
from tests.scenes import write_scenes
from tests.test_trainer_photo_reader import _BOXES, _GREENS, FakeFinder, FakeReader, _photo
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox
from tfrecords.record.scene import SceneExample
from trainer.commands.evaluate_unboxed import read_pictures
from trainer.photo_reader import PhotoReader
from trainer.reader import Reader
from trainer.report.unboxed import load_unboxed, render_unboxed
from trainer.report.write import write_unboxed_report
from trainer.run.evaluations import UnboxedFiles
from trainer.scoring.metrics import wilson_interval
from trainer.scoring.unboxed import (
    ELSEWHERE,
    MISREAD,
    NOT_FOUND,
    OUTRANKED,
    REFUSED,
    RIGHT,
    ReadPicture,
    read_unboxed,
    score_unboxed,
    write_unboxed,
)


def _scene(key: str, greens: tuple[int, ...], *numbers: tuple[str, BoundingBox]) -> SceneExample:
    """Returns a photo of the stand-ins in a square, of half the size of its source."""
    image = np.zeros((100, 100, 3), np.uint8)
    image[:80] = _photo(*greens)
    return SceneExample(
        key=f"train/{key}.png",
        image=image,
        texts=tuple(text for text, _ in numbers),
        boxes=np.array([box for _, box in numbers], np.float32).reshape(-1, 4),
        digit_labels=np.zeros(0, np.int64),
        digit_numbers=np.zeros(0, np.int64),
        digit_boxes=np.zeros((0, 4), np.float32),
        source_size=np.array([160, 200]),
        content_size=np.array([80, 100]),
    )


def _scenes() -> list[SceneExample]:
    """Returns a scene for each outcome; stand-ins read 20 at the first box, 1 at the second, nothing at the third."""
    first, second, _ = _GREENS
    return [
        _scene("right", (first,), ("20", _BOXES[0])),
        _scene("misread", (first,), ("29", _BOXES[0])),
        _scene("outranked", (first, second), ("1", _BOXES[1])),
        _scene("refused", (_GREENS[2],), ("7", _BOXES[2])),
        _scene("not-found", (), ("5", _BOXES[0])),
        _scene("elsewhere", (first,), ("5", _BOXES[1])),
        _scene("several", (first, second), ("20", _BOXES[0]), ("4", _BOXES[1])),
        _scene("empty", (first,)),
        _scene("quiet", ()),
    ]


@pytest.fixture(scope="module")
def pictures() -> list[ReadPicture]:
    pair = PhotoReader(FakeFinder(), cast(Reader, FakeReader()))
    found, reduced = read_pictures(pair, _scenes())
    assert reduced == 9
    return found


def test_each_number_has_its_outcome(pictures: list[ReadPicture]) -> None:
    outcomes = [[number.outcome for number in each.numbers] for each in pictures]
    alone = [[outcome] for outcome in (RIGHT, MISREAD, OUTRANKED, REFUSED, NOT_FOUND, ELSEWHERE)]
    assert outcomes == [*alone, [RIGHT, MISREAD], [], []]


def test_what_is_read_at_a_place_is_kept_in_pixels_of_the_source(pictures: list[ReadPicture]) -> None:
    (number,) = pictures[1].numbers
    assert number.box == BoundingBox(20, 40, 60, 120)
    assert number.read is not None and (number.read.text, number.read.box, number.read.box_confidence) == (
        "20",
        number.box,
        0.9,
    )
    refused = pictures[3].numbers[0].read
    assert refused is not None and refused.text == "" and pictures[3].answers == ()
    assert pictures[4].numbers[0].read is None and pictures[4].places == ()


def test_scores_are_those_counted_by_hand(pictures: list[ReadPicture]) -> None:
    scores = score_unboxed(pictures)
    assert (scores["num_pictures"], scores["num_examples"]) == (9, 6)
    assert scores["whole_number_accuracy"] == 1 / 6
    assert scores["whole_number_accuracy_interval"] == wilson_interval(1, 6)
    assert list(scores["outcomes"].values()) == [1] * 6
    several = scores["several"]
    assert (several["num_pictures"], several["num_numbers"], several["accuracy"]) == (1, 2, 0.5)
    assert (scores["without_number"]["num_pictures"], scores["without_number"]["answered"]) == (2, 1)


def test_scores_of_nothing_are_none() -> None:
    scores = score_unboxed([])
    assert scores["whole_number_accuracy"] is None and scores["coverage_at_98"] is None
    assert scores["several"]["accuracy_interval"] is None


def test_pictures_are_written_and_read_again_and_a_damaged_line_is_named(
    pictures: list[ReadPicture], tmp_path: Path
) -> None:
    path = tmp_path / "without-box-test.jsonl"
    write_unboxed(path, pictures)
    again = read_unboxed(path)
    assert score_unboxed(again) == score_unboxed(pictures) and again[2].places == pictures[2].places
    path.write_text(path.read_text().replace('"outcome": "right"', '"outcome": "wrong"', 1))
    with pytest.raises(UserError, match=r"without-box-test.jsonl, line 1 must be as `python -m trainer evaluate --fi"):
        read_unboxed(path)


@pytest.fixture
def run_dir(pictures: list[ReadPicture], tmp_path: Path) -> Path:
    data = write_scenes(tmp_path / "scenes", {"test": _scenes()})
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model": "compact", "dataset": {"name": "svhn"}}))
    files = UnboxedFiles.of_split(folder, "test")
    scores = {
        "split": "test",
        "data": str(data),
        "dataset": "scenes",
        "finder": "f<b>",
        "num_reduced": 9,
        **score_unboxed(pictures),
    }
    files.scores.write_text(json.dumps(scores))
    write_unboxed(files.pictures, pictures)
    return folder


def test_the_page_counts_and_shows_the_failures_by_kind(run_dir: Path) -> None:
    report = write_unboxed_report(run_dir, run_dir / "without-box.html")
    parsed = Page(report.html)
    parsed.check_self_contained()
    text = " ".join(parsed.text.split()).replace("\u00a0", " ")
    for words in (
        "compact without a box on scenes",
        "after the finder f<b>; 9 complete pictures, split test",
        "Not found: 1",
        "Found elsewhere: 1",
        "Found but read wrong: 2",
        "another place was surer: 1",
        "Refused as no number: 1",
        "answered anyway: 1",
        "29 read as 20",
        "7 read as no number",
        "5 not found",
        "Sure of place, text 90.0 %",
        "9 of them are smaller than their source pictures",
    ):
        assert words in text, words
    assert report.missing == () and report.num_pictures == len(parsed.all("img")) == 9


def test_a_page_needs_its_evaluation_and_says_where_the_pictures_are_missing(run_dir: Path) -> None:
    (run_dir.parent / "scenes").rename(run_dir.parent / "moved")
    assert "The galleries have no pictures" in render_unboxed(load_unboxed(run_dir, None, None)).missing[0]
    assert not render_unboxed(load_unboxed(run_dir, Place(run_dir.parent / "moved"), "test")).missing
    with pytest.raises(UserError, match=r"has evaluations without boxes of test; .* Received: --split train"):
        load_unboxed(run_dir, None, "train")
    (run_dir / "without-box-test.json").unlink()
    with pytest.raises(UserError, match=r"has evaluations without boxes of no split; .* Received: --without-box"):
        load_unboxed(run_dir, None, None)


def test_the_page_fits_a_phone(run_dir: Path, tmp_path: Path) -> None:
    shown = show(render_unboxed(load_unboxed(run_dir, None, None)).html, tmp_path)
    assert shown.content_width == shown.window_width
