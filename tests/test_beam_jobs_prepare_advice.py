"""What prepare says about numbers that were rejected, and about inputs of another source."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.job.wrong_input import name_sources, refuse_archive
from beam_jobs.prepare.advice import narrow_characters, unknown_characters, what_to_do
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources.base import Input
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels

WRITTEN = Path(__file__).parent / "written_by"


def rows(*letters: tuple[str | None, str | None, str | None]) -> pa.Table:
    names = ("text", "reason", "detail")
    return pa.table(
        {name: pa.array(column, pa.string()) for name, column in zip(names, zip(*letters, strict=True), strict=True)}
    )


def test_characters_that_the_alphabet_lacks_are_counted_and_the_option_can_be_copied() -> None:
    table = rows(("1.5", "unknown_character", ""), ("0.-", "unknown_character", ""), ("12", None, None))
    expected = "the alphabet lacks '.' in 2 numbers, '-' in 1 number: --alphabet 0123456789-. has them"
    assert unknown_characters(table, Labels()) == expected
    assert unknown_characters(rows(("1 5", "unknown_character", "")), Labels()) == (
        "the alphabet lacks ' ' in 1 number: --alphabet '0123456789 ' has it"
    )
    assert unknown_characters(rows(("12", None, None), ("", "bad_box", "")), Labels()) == ""


def test_many_characters_are_cut_and_ones_that_no_alphabet_holds_are_not_advised() -> None:
    line = unknown_characters(rows(("abcdefghij", "unknown_character", "")), Labels())
    assert line.endswith("'h' in 1 number and 2 more: --alphabet 0123456789abcdefghij has them")
    assert "--alphabet" not in unknown_characters(rows(("1\t2", "unknown_character", "")), Labels())


@pytest.mark.parametrize(
    ("letters", "sentence"),
    [
        ([("1234567", "too_long", "")] * 2, "The longest has 7 characters: --max-length 7 takes it."),
        ([("1" * 40, "too_long", "a: too long. Received: 40")], "The first too_long: a: too long. Received: 40"),
        (
            [("1.5", "unknown_character", "")],
            "The alphabet lacks '.' in 1 number: --alphabet 0123456789. has it.",
        ),
        ([(None, "no_match", "a: why.\nReceived: b")], "The first no_match: a: why. Received: b"),
        ([(None, "no_match", ""), (None, "bad_box", "")], ""),
        (
            [(None, "no_match", ""), ("x", "unknown_character", "")],
            "The alphabet lacks 'x' in 1 number: --alphabet 0123456789x has it.",
        ),
        ([(None, "no_annotation", "")], ""),
    ],
    ids=[
        "too long",
        "longer than any",
        "characters",
        "another reason",
        "no reason of most",
        "characters of half",
        "no fault",
    ],
)
def test_the_reason_of_most_is_explained(letters: list[tuple[str | None, str, str]], sentence: str) -> None:
    assert what_to_do(rows(*letters), Labels()) == sentence


def test_long_numbers_in_narrow_images_are_named() -> None:
    assert narrow_characters(PrepareConfig()) == ""
    assert narrow_characters(PrepareConfig(max_length=8, crop=CropSpec(aspect=3.0))) == ""
    assert narrow_characters(PrepareConfig(max_length=8)) == (
        "numbers have up to 8 characters, and images 54 pixels of width: --aspect 3 makes them wider"
    )


def folder_of_classes(folder: Path) -> Path:
    for name in ("7/a.png", "0/b.png"):
        (folder / name).parent.mkdir(parents=True)
        Image.new("L", (8, 8)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("folder", "chosen", "named"),
    [
        ("coco", "yolo", "coco"),
        ("yolo/yolo_ultralytics", "coco", "yolo"),
        ("voc", "cvat", "voc"),
        ("cvat", "table", "cvat"),
        ("label_studio", "svhn", "label-studio"),
    ],
)
def test_an_input_of_another_source_names_that(folder: str, chosen: str, named: str, tmp_path: Path) -> None:
    place = Path(shutil.copytree(WRITTEN / folder, tmp_path / "input"))
    if named == "label-studio":
        (place / "coco.json").unlink()
        (place / "min.json").unlink()
    error = name_sources(UserError("A rule.", "x"), Input(Place(place)), chosen)
    assert str(error) == f"A rule. --source {named} finds numbers in this input. Received: x"


def test_folders_of_classes_are_named_only_where_nothing_else_is(tmp_path: Path) -> None:
    place = Place(folder_of_classes(tmp_path / "input"))
    error = name_sources(UserError("A rule."), Input(place), "mnist")
    assert str(error) == "A rule. --source image-folder finds numbers in this input."


def test_an_error_stays_where_no_source_fits_or_one_is_named_already(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (Place(tmp_path / "empty"), Place(tmp_path / "gone"), Place("s3://bucket/folder")):
        error = UserError("A rule.", "x")
        assert name_sources(error, Input(place), "coco") is error
    named = UserError("--source voc reads it.")
    assert name_sources(named, Input(Place(WRITTEN / "coco")), "yolo") is named


def test_an_archive_is_to_be_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "export.ZIP"
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match=r"The input must be unpacked first: no source reads archives\. Received: "):
        refuse_archive(Input(Place(path)))
    refuse_archive(Input(Place(tmp_path / "gone.zip")))


def test_the_command_ends_with_the_advice_and_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(WRITTEN / "cvat", tmp_path / "cvat")
    for name in ("test/a/1", "b 2", "c"):
        (tmp_path / "cvat" / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 40)).save(tmp_path / "cvat" / f"{name}.png")
    words = ["prepare", "--source", "cvat", "--input", str(tmp_path / "cvat"), "--output", str(tmp_path / "records")]
    assert main("beam_jobs", "", COMMANDS, [*words, "--subsets", "train"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("dead_letters.jsonl. The alphabet lacks '.' in 1 number: --alphabet 0123456789. has it.")
    assert main("beam_jobs", "", COMMANDS, [*words, "--max-dead-fraction", "0.5"]) == 0
    assert "\nnote: the alphabet lacks '.' in 1 number: --alphabet 0123456789. has it\n" in capsys.readouterr().out
    assert main("beam_jobs", "", COMMANDS, [*words, "--overwrite", "--alphabet", "-.0123456789"]) == 0
    assert "rejected" not in capsys.readouterr().out


@pytest.mark.parametrize("source", ["voc", "cvat", "label-studio"])
def test_an_attribute_that_no_box_has_is_one_line(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = WRITTEN / {"voc": "voc", "cvat": "cvat_labels", "label-studio": ""}[source]
    if source == "label-studio":
        place = tmp_path / "export.json"
        value = '{"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0, "rectanglelabels": ["7"]}'
        item = f'{{"id": "a", "type": "rectanglelabels", "original_width": 9, "original_height": 9, "value": {value}}}'
        place.write_text(f'[{{"id": 1, "data": {{"image": "a.png"}}, "annotations": [{{"result": [{item}]}}]}}]')
    words = ["prepare", "--source", source, "--input", str(place), "--output", str(tmp_path / "records")]
    assert main("beam_jobs", "", COMMANDS, [*words, "--text-attribute", "reading"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no box has a text under the name that --text-attribute gives" in error
    assert error.endswith(" Received: reading")
