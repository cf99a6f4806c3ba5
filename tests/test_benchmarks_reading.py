"""The benchmark of readers: views, rules that join texts, scores, held-out pictures, and what is left out."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from beam_jobs.job.given import GivenData
from beam_jobs.sources.base import SourceOptions
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from benchmarks.reading import __main__ as reading
from benchmarks.reading.__main__ import main
from benchmarks.reading.measure import JOINS, View, answer_all, score, views_of
from benchmarks.reading.peers import Ours, Text, kept_digits, load_peer
from benchmarks.reading.pictures import Labelled, pictures_of_dataset, pictures_of_source
from tests.real_data import data_folder
from tfrecords.cli import main as main_of
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox
from trainer.reader import load_reader

SIZE = (24, 32)
"""Height and width of the drawn pictures, pixels."""


class Fake:
    """Reads the brightness of an image as its number, and two texts in a complete picture."""

    title, reader_megabytes, finder_megabytes = "Fake", 1.5, 2.0

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[int, ...], float]] = []

    def read(self, image: NDArray[np.uint8], margin: float) -> Text:
        self.seen.append((image.shape, margin))
        return Text(str(int(image[0, 0, 0])), 0.9)

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Text]:
        value = str(int(picture[0, 0, 0]))
        return [Text(value[1:], 0.9, left=20, height=5), Text(value[:1], 0.5, left=3, height=9), Text("", 1.0)]


def make_folder(folder: Path, numbers: Sequence[str]) -> Path:
    """Writes a folder as SVHN's: the pixels of each picture are its number, which has a box of 8 x 12 pixels."""
    folder.mkdir(parents=True)
    names = [f"{index + 1}.png" for index in range(len(numbers))]
    for name, number in zip(names, numbers, strict=True):
        Image.fromarray(np.full((*SIZE, 3), int(number) % 256, np.uint8)).save(folder / name)
    boxes = [
        [DigitBox(int(digit) or 10, 8 + 12 * place // len(number), 6, 12 // len(number), 8) for place, digit in digits]
        for number in numbers
        if (digits := list(enumerate(number)))
    ]
    write_digit_struct(folder / "digitStruct.mat", names, boxes)
    return folder


def labelled(text: str, number: int, **others: object) -> Labelled:
    picture = np.full((*SIZE, 3), number, np.uint8)
    return Labelled("a/1.png", text, picture, (BoundingBox(6, 8, 14, 20),), **others)  # type: ignore[arg-type]


def test_digits_alone_are_kept_of_a_text() -> None:
    assert kept_digits("№ 1-0a٣5") == "105"


def test_each_rule_joins_the_texts_of_a_picture() -> None:
    texts = [Text("23", 0.9, left=20, height=5), Text("1", 0.5, left=3, height=9)]
    joined = {name: join(texts) for name, join in JOINS.items()}
    assert {name: text.digits for name, text in joined.items()} == {
        "most confident": "23",
        "tallest": "1",
        "left to right": "123",
    }
    assert joined["left to right"].confidence == 0.5


def test_a_view_shows_the_box_with_its_margin_or_the_complete_picture() -> None:
    fake = Fake()
    answers = answer_all([labelled("123", 123)], {"fake": fake}, views_of([0.5, 0.0], True))
    # The first picture is read twice.
    assert fake.seen == [((12, 18, 3), 0.5)] * 2 + [((8, 12, 3), 0.0)] * 2
    assert [view for _, view in answers] == ["box +50 %", "tight box", "no box"]
    found = score(answers["fake", "no box"])
    assert (found.rule, found.right, found.pictures) == ("left to right", 1, 1)


def test_without_a_box_pictures_of_several_numbers_are_left_out_and_with_one_those_without_boxes() -> None:
    several = labelled("12", 12, is_alone=False)
    unplaced = Labelled("a/2.png", "12", several.picture)
    answers = answer_all([several, unplaced, labelled("12", 12)], {"fake": Fake()}, views_of([0.0], True))
    assert {view: len(each.labelled) for (_, view), each in answers.items()} == {"tight box": 2, "no box": 2}


def test_scores_count_kinds_of_errors_and_answer_only_what_is_read() -> None:
    class Listed(Fake):
        answers = iter(["12", "12", "13", "1", "", ""])

        def read(self, image: NDArray[np.uint8], margin: float) -> Text:
            text = next(self.answers)
            # Sure that there is nothing.
            return Text(text, 0.99 if not text else 0.8 if text == "12" else 0.3)

    pictures = [labelled("12", 0, split=split) for split in ("test", "train", "train", "train", "test")]
    answers = answer_all(pictures, {"listed": Listed()}, [View("tight box", 0.0)])["listed", "tight box"]
    found = score(answers)
    assert (found.pictures, found.right, found.accuracy, found.rule) == (5, 1, 0.2, "")
    assert (found.nothing, found.other_length, found.other_digit) == (0.4, 0.2, 0.2)
    assert found.low < 0.2 < found.high
    # The one that is right is more confident than all that are read wrongly.
    assert found.coverage == pytest.approx(0.2)
    held_out = score(answers, "test")
    assert (held_out.pictures, held_out.right, held_out.nothing) == (2, 1, 0.5)
    assert held_out.low >= 0 and held_out.high <= 1


def test_pictures_of_a_source_have_the_splits_of_prepare_and_bad_ones_are_counted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos", [str(number) for number in range(10, 70)])
    (folder / "3.png").write_bytes(b"no picture")
    (folder / "4.png").unlink()
    pictures = pictures_of_source(GivenData(source="svhn", input=str(folder)), SourceOptions(), 0.25, False, None)
    found = list(pictures)
    assert pictures.total == 60 and len(found) == 58 and sum(pictures.left_out.values()) == 2
    assert pictures.left_out["missing_picture"] == 1
    assert found[0].text == "10" and found[0].crop(0.0).shape == (8, 12, 3)
    # The same split as a dataset of the same folder, by the same code of prepare.
    options = ["--source", "svhn", "--input", str(folder), "--output", str(tmp_path / "records")]
    options += ["--test-fraction", "0.25", "--max-dead-fraction", "0.1", "--validation-fraction", "0"]
    assert main_of("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
    expected = Manifest.load(tmp_path / "records").splits["test"].examples
    assert sum(each.split == "test" for each in found) == expected > 0
    data = GivenData(source="svhn", input=str(folder))
    assert len(list(pictures_of_source(data, SourceOptions(), 0.25, True, None))) == expected
    assert len(list(pictures_of_source(data, SourceOptions(), 0.25, False, 10))) <= 10


def test_images_of_a_dataset_have_the_shape_of_what_was_cut_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos", ["12", "34", "50"])
    options = ["--source", "svhn", "--input", str(folder), "--output", str(tmp_path / "records")]
    options += ["--split", "test", "--jitters", "0", "--whole-crops"]
    assert main_of("beam_jobs", "", BEAM_COMMANDS, ["prepare", *options]) == 0
    found = list(pictures_of_dataset(str(tmp_path / "records"), "test", 2))
    assert len(found) == 2 and all(each.margin == 0.3 for each in found)
    # The crop is 10 x 16 pixels, which the record has as 64 x 64.
    assert found[0].picture.shape == (64, 102, 3)
    fake = Fake()
    answers = answer_all(found, {"fake": fake}, [View("record", None, is_cut=True)])
    assert fake.seen == [((64, 102, 3), 0.3)] * 3 and score(answers["fake", "record"]).right == 2
    assert {each.text for each in pictures_of_dataset(str(tmp_path / "records"), "test", None)} == {"12", "34", "50"}


def test_the_command_prints_and_writes_a_table_of_all_and_of_the_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offer(name: str) -> Fake:
        if name == "rapidocr":
            return Fake()
        raise UserError(f"{name} was left out: pip install {name} installs it.")

    monkeypatch.setattr(reading, "load_peer", offer)
    monkeypatch.setattr(reading, "_use_one_thread", lambda: None)
    folder = make_folder(tmp_path / "photos", [str(number) for number in range(100, 140)])
    options = ["--input", str(folder), "--test-fraction", "0.3", "--only", "rapidocr,ddddocr", "--margins", "0"]
    assert main([*options, "--json", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("| F")]
    assert [row[:2] for row in rows] == [["Fake", "tight box"], ["Fake", "no box, left to right"]] * 2
    assert rows[0][2].startswith("100.0 % (") and rows[0][-1] == "1.5" and rows[1][-1] == "3.5"
    assert "ddddocr was left out: pip install ddddocr installs it." in printed
    content = json.loads((tmp_path / "scores.json").read_text())
    assert [each["pictures"] for each in content["all pictures"]] == [40, 40]
    assert 0 < content["the split test"][0]["pictures"] < 40


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "0"], "Received: 0, 0.0 and [0.3, 0.0]"),
        (["--test-fraction", "2"], "Received: None, 2.0"),
        (["--margins", "-1"], "[-1.0]"),
    ],
)
def test_wrong_options_are_refused(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--input", "photos", *options])
    assert said in capsys.readouterr().err


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"rapidocr was left out: pip install .* Received: no module rapidocr"):
        load_peer("rapidocr")


@pytest.mark.slow
def test_our_model_sees_the_window_of_evaluation_and_longer_numbers_are_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    ours, reader = Ours("pretrained"), load_reader("pretrained")
    boxes = (BoundingBox(12, 20, 40, 60),)
    each = Labelled("a/1.png", "1", picture, boxes)
    expected = reader.read(picture, (20, 12, 40, 28))
    found = ours.read(each.crop(0.3), 0.3)
    assert found.confidence == pytest.approx(expected.confidence, rel=1e-5)
    assert found.digits == expected.text
    assert ours.find(picture)[0].confidence == pytest.approx(reader.read(picture).confidence, rel=1e-5)


@pytest.mark.slow
def test_rapidocr_reads_genuine_photos() -> None:
    pytest.importorskip("rapidocr", reason="rapidocr is not installed")
    peer = load_peer("rapidocr")
    folder = data_folder() / "svhn_photos"
    data = GivenData(source="svhn", input=str(folder))
    pictures = list(pictures_of_source(data, SourceOptions(), 0.0, False, 20))
    answers = answer_all(pictures, {"rapidocr": peer}, views_of([0.0], True))
    assert score(answers["rapidocr", "tight box"]).right >= 15
    assert score(answers["rapidocr", "no box"]).right >= 12
    assert 20 < peer.reader_megabytes < 23 and 9 < peer.finder_megabytes < 11
