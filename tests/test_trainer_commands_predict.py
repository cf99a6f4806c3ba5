"""Predict: whatever names pictures, in batches, as they come, and none lost for another's fault."""

import argparse
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox
from trainer.__main__ import COMMANDS
from trainer.commands.predict import parse_box
from trainer.input.photos import find_photos
from trainer.scoring.decode import decode_predictions
from trainer.scoring.prediction_output import PredictionPrinter, prediction_json


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures in folders, and what is none."""
    folder = tmp_path_factory.mktemp("album")
    rng = np.random.default_rng(0)
    for name in ("b/2.png", "b/10.JPG", "a.webp", "c/d/e.tiff", "c/f.png", ".hidden/g.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / name)
    for name in ("notes.txt", "b/.2.png", "b/noending"):
        (folder / name).write_text("no picture")
    (folder / "empty").mkdir()
    return folder


IN_ORDER = ["a.webp", "b/10.JPG", "b/2.png", "c/f.png", "c/d/e.tiff"]
Predict = Callable[..., int]


@pytest.fixture
def predict(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    def call(*arguments: object, stdin: bytes = b"") -> int:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return main("trainer", "", COMMANDS, ["predict", "--run-dir", str(untrained), *map(str, arguments)])

    return call


def _without_notes(errors: str) -> str:
    """Drops the progress, and the line about pictures in which a model that has learned nothing finds no number."""
    return re.sub("^(note: in|predict:) .*\n", "", errors, flags=re.MULTILINE)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_folder_is_read_with_all_below_it_in_the_order_of_names(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(album, "--json-lines") == 0
    printed = capsys.readouterr()
    answers = [json.loads(line) for line in printed.out.splitlines()]
    assert [answer["photo"] for answer in answers] == [str(album / name) for name in IN_ORDER]
    left_out = "2 files have no suffix of a picture that can be read (no suffix 1, .txt 1).\n"
    assert _without_notes(printed.err) == f"{left_out}Read 5 of 5 pictures.\n"
    assert len({answer["confidence"] for answer in answers}) == 5


def test_no_answer_depends_on_the_batch_or_on_the_form(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(album, "--json-lines") == 0
    together = _lines(capsys)
    assert predict(album, "--json-lines", "--batch-size", 2) == 0
    for one, other in zip(_lines(capsys), together, strict=True):
        assert one["number"] == other["number"]
        np.testing.assert_allclose(one["length_probabilities"], other["length_probabilities"], atol=1e-6)
    for size in (2, 64):
        assert predict(album, "--json", "--batch-size", size) == 0
        array = json.loads(capsys.readouterr().out)
        assert [answer["number"] for answer in array] == [answer["number"] for answer in together]
    assert predict(album, "--batch-size", 2) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["photo", "number", "confidence", "digits"]
    columns = [re.split(" {2,}", row)[:2] for row in rows]
    assert columns == [[answer["photo"], answer["number"] or "no number"] for answer in together]


@pytest.mark.parametrize(("separator", "options"), [(b"\n", []), (b"\0", ["--null"])])
def test_standard_input_names_files_and_folders(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str], separator: bytes, options: list[str]
) -> None:
    # The last path may go without its separator, and empty lines name nothing.
    names = [album / "c", album / "a.webp"]
    stdin = separator.join([os.fsencode(names[0]), b"", os.fsencode(names[1])])
    assert predict("-", album / "b" / "2.png", "--json-lines", *options, stdin=stdin) == 0
    expected = ["c/f.png", "c/d/e.tiff", "a.webp", "b/2.png"]
    assert [answer["photo"] for answer in _lines(capsys)] == [str(album / name) for name in expected]


def test_a_name_with_a_line_break_comes_through_with_null(
    album: Path, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(album / "a.webp", tmp_path / "two\nlines.webp")
    stdin = os.fsencode(tmp_path / "two\nlines.webp") + b"\0"
    assert predict("-", "--null", "--json-lines", stdin=stdin) == 0
    assert [answer["photo"] for answer in _lines(capsys)] == [str(tmp_path / "two\nlines.webp")]


def test_a_name_that_is_no_text_is_read_and_shown(
    album: Path, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(os.fsencode(album / "a.webp"), os.fsencode(tmp_path) + b"/\xff.webp")
    assert predict(tmp_path, "--json-lines") == 0
    assert [answer["photo"] for answer in _lines(capsys)] == [f"{tmp_path}/\\udcff.webp"]


def test_an_answer_is_written_before_the_next_path_is_waited_for(
    album: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = []

    class Slow(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            waiting.append(capsys.readouterr().out.count("\n"))
            return super().readline(size)

    names = [os.fsencode(album / name) + b"\n" for name in IN_ORDER[:3]]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Slow(b"".join(names))))
    options = ["--run-dir", str(untrained), "-", "--json-lines", "--batch-size", "1"]
    assert main("trainer", "", COMMANDS, ["predict", *options]) == 0
    # Before the first path nothing, then one answer each.
    assert waiting == [0, 1, 1, 1]


def test_bad_pictures_are_counted_and_lose_no_other(
    album: Path, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.png").write_bytes((album / "c" / "f.png").read_bytes()[:900])
    names = [album / "a.webp", tmp_path / "cut.png", album / "empty", "x" * 300, album / "b" / "noending", album / "c"]
    assert predict(*names, "--json-lines", "--batch-size", 2) == 1
    printed = capsys.readouterr()
    assert [Path(json.loads(line)["photo"]).name for line in printed.out.splitlines()] == ["a.webp", "f.png", "e.tiff"]
    *errors, last = _without_notes(printed.err).splitlines()
    assert [error.startswith("error: ") for error in errors] == [True] * 4
    for name, error in zip(names[1:5], errors, strict=True):
        assert str(name) in error
    assert f"{album / 'empty'}: The folder must hold pictures (.avif .bmp " in errors[1]
    assert last == "Read 3 of 7 pictures; 4 could not be read."


def test_an_address_in_a_list_is_named_as_it_was_given_and_loses_no_other(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = ("ftq://bucket/a.png", "file:///b.png", "ftq://bucket/c d.png")
    for null, separator in (((), "\r\n"), (("--null",), "\0")):
        listed = separator.join([*addresses, str(album / "a.webp")])
        assert predict("-", "--json-lines", *null, stdin=listed.encode()) == 1
        printed = capsys.readouterr()
        assert [json.loads(line)["photo"] for line in printed.out.splitlines()] == [str(album / "a.webp")]
        *errors, last = _without_notes(printed.err).splitlines()
        assert last == "Read 1 of 4 pictures; 3 could not be read."
        for address, error in zip(addresses, errors, strict=True):
            assert error.startswith("error: ") and address in error


def test_progress_is_printed_of_more_than_one_batch(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    for size, lines in ((1, ["predict: 50 %, 1 of 2 pictures, ", "predict: 100 %, 2 of 2 pictures, "]), (2, [])):
        assert predict(album / "a.webp", album / "a.webp", "--batch-size", size) == 0
        errors = capsys.readouterr().err
        assert _without_notes(errors) == "Read 2 of 2 pictures.\n"
        shown = [line for line in errors.splitlines() if line.startswith("predict: ")]
        assert all(line.startswith(start) for line, start in zip(shown, lines, strict=True))


def test_where_nothing_can_be_read_no_model_is_loaded(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.run.weights.load_model", None)
    assert predict(tmp_path / "gone.png", "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert printed.err.endswith("Read 0 of 1 pictures; 1 could not be read.\n")


def test_a_picture_on_standard_input_is_no_path(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("-", stdin=b"\0\1" + (album / "c" / "f.png").read_bytes()) == 1
    rule = "error: Standard input must hold one path a line, or with --null one before each NUL. Received: b'\\x00\\x01"
    error = capsys.readouterr().err
    assert error.startswith(rule) and error.count("\n") == 1


@pytest.mark.parametrize("name", ["-", "folder"])
def test_boxes_are_for_files(predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "folder").mkdir()
    photo = name if name == "-" else tmp_path / name
    assert predict(photo, "--box", "1,2,3,4") == 1
    expected = f"error: --box must be given for files, not for folders or standard input. Received: {photo}\n"
    assert capsys.readouterr().err == expected


def test_a_batch_of_none_is_refused(album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(album, "--batch-size", 0) == 1
    assert capsys.readouterr().err == "error: --batch-size must be at least 1. Received: 0\n"


def test_paths_are_taken_one_at_a_time_from_an_endless_input() -> None:
    class Endless(io.BytesIO):
        read = 0  # type: ignore[assignment]  # counts the reads, and no method is called by its name

        def readline(self, size: int | None = -1) -> bytes:
            self.read += 1
            return b"%d.png\n" % self.read

    stdin = Endless()
    photos = find_photos(["first.png", "-"], stdin, b"\n")
    names = [Path(path).name for path in itertools.islice(photos, 1000)]
    assert names == ["first.png", *(f"{number}.png" for number in range(1, 1000))] and stdin.read == 999


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    class Zeros(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            assert size and size > 0
            return b"0" * size

    with pytest.raises(UserError, match=r"Standard input must hold one path a line.* Received: b'0000"):
        list(find_photos(["-"], Zeros(), b"\n"))


@pytest.mark.parametrize(
    "arguments",
    [
        "one.png --box 4,3,30,20 two.png --box -1,2,30,20",
        "--box 4,3,30,20 --box=-1,2,30,20 one.png two.png",
        "--box 4,3,30,20 one.png two.png --box -1,2.0,30,20",
        "one.png --box 4,3,30,20 --json-lines two.png --batch-size 1 --box -1.0,2,3e1,20",
    ],
)
def test_each_photo_may_be_followed_by_its_box_which_may_begin_outside(
    arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[argparse.Namespace] = []

    def take(args: argparse.Namespace) -> int:
        given.append(args)
        return 0

    monkeypatch.setattr("trainer.commands.predict.run", take)
    assert main("trainer", "", COMMANDS, ["predict", *arguments.split()]) == 0
    (args,) = given
    assert args.photos == ["one.png", "two.png"]
    assert [parse_box(text) for text in args.box] == [BoundingBox(3, 4, 23, 34), BoundingBox(2, -1, 22, 29)]


def test_a_box_that_begins_outside_the_picture_is_read(
    album: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = album / "c" / "f.png"
    assert predict(photo, "--box", "4,3,30,20", photo, "--box", "-1,2,30,20", "--json-lines") == 0
    first, second = _lines(capsys)
    assert first["confidence"] != second["confidence"]


def test_a_name_that_begins_with_a_dash_follows_two(
    album: Path, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("-1,2.png", "--json.png"):
        shutil.copy(album / "c" / "f.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert predict("--json-lines", "--", "-1,2.png", "--json.png") == 0
    assert [row["photo"] for row in _lines(capsys)] == ["-1,2.png", "--json.png"]


def test_files_that_are_left_out_are_counted_by_suffix_and_linked_folders_are_read_once(
    album: Path, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "album" / "sub").mkdir(parents=True)
    shutil.copy(album / "c" / "f.png", tmp_path / "album" / "a.png")
    shutil.copytree(album / "c", tmp_path / "more")
    for name in ("film.MOV", "film.mov", "b.txt", "sub/c.svg", "sub/.d.svg"):
        (tmp_path / "album" / name).touch()
    (tmp_path / "album" / "linked").symlink_to(tmp_path / "more")
    (tmp_path / "album" / "sub" / "again").symlink_to(tmp_path / "more")
    (tmp_path / "album" / "sub" / "up").symlink_to(tmp_path / "album")
    assert predict(tmp_path / "album", "--json-lines") == 0
    printed = capsys.readouterr()
    read = [
        Path(json.loads(line)["photo"]).relative_to(tmp_path / "album").as_posix() for line in printed.out.splitlines()
    ]
    assert read == ["a.png", "linked/f.png", "linked/d/e.tiff"]
    left_out = "4 files have no suffix of a picture that can be read (.mov 2, .svg 1, .txt 1).\n"
    assert _without_notes(printed.err) == f"{left_out}Read 3 of 3 pictures.\n"


def test_pictures_of_newer_formats_in_a_folder_are_read_or_named_with_what_they_need(
    album: Path, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(album / "c" / "f.png") as picture:
        pillow_heif.from_pillow(picture.convert("RGB")).save(tmp_path / "IMG_0001.HEIC", quality=90)
        picture.convert("RGB").save(tmp_path / "b.jp2")
    assert predict(tmp_path, "--json-lines") == 0
    assert [Path(row["photo"]).name for row in _lines(capsys)] == ["IMG_0001.HEIC", "b.jp2"]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert predict(tmp_path, "--json-lines") == 1
    error = capsys.readouterr().err
    assert "IMG_0001.HEIC: HEIC needs a decoder that is not installed: pip install 'streetdigits[heif]'." in error
    assert "Read 1 of 2 pictures; 1 could not be read." in error


def test_a_folder_that_cannot_be_read_is_an_error_of_its_own(
    album: Path,
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(album / "c", tmp_path / "c")
    scan = os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path).name == "d":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    monkeypatch.setattr("os.listdir", refuse)
    assert predict(tmp_path, "--json-lines") == 1
    printed = capsys.readouterr()
    assert [Path(json.loads(line)["photo"]).name for line in printed.out.splitlines()] == ["f.png"]
    error = f"error: {tmp_path}/c/d: Permission denied\n"
    assert _without_notes(printed.err) == f"{error}Read 1 of 2 pictures; 1 could not be read.\n"


def test_a_list_as_windows_writes_it_names_its_files(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png\r", "d.png", "d.png\r"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def named(stdin: bytes, separator: bytes = b"\n") -> list[str]:
        return [str(path) for path in find_photos(["-"], io.BytesIO(stdin), separator)]

    assert named(b"\xef\xbb\xbfa.png\r\n\r\ngone.png\r\n") == ["a.png", "gone.png"]
    # A name that exists is taken as it is.
    assert named(b"b.png\r\nd.png\r\nd.png\n") == ["b.png\r", "d.png\r", "d.png"]
    assert named(b"a.png\r\0", b"\0") == ["a.png\r"]
    assert named(b"\xef\xbb\xbf\r\n") == []
    with pytest.raises(UserError, match=r"in UTF-8\. Received: b'\\xff\\xfea"):
        named("\ufeffa.png\r\n".encode("utf-16-le"))


@pytest.mark.parametrize(("encoding", "form"), [("cp1252", "--json-lines"), ("ascii", "--json"), ("cp1252", "table")])
def test_letters_that_the_output_lacks_are_escaped_and_no_answer_is_lost(
    encoding: str, form: str, album: Path, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["\u21161.png", "caf\u00e9.png", "\U0001f3e0.png"]
    for name in names:
        shutil.copy(album / "c" / "f.png", tmp_path / name)
    shown = io.BytesIO()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding=encoding))
    options = [] if form == "table" else [form]
    assert main("trainer", "", COMMANDS, ["predict", "--run-dir", str(untrained), *names, *options]) == 0
    text = shown.getvalue().decode(encoding)
    if form == "table":
        shown_names = [line.split()[0] for line in text.splitlines()[1:]]
        assert shown_names == [
            "\\u21161.png",
            "caf\u00e9.png",
            "\\U0001f3e0.png",
        ]
    else:
        rows = json.loads(text) if form == "--json" else [json.loads(line) for line in text.splitlines()]
        assert [row["photo"] for row in rows] == names


def test_a_number_of_more_than_five_digits_is_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii"))
    PredictionPrinter(json_array=False, json_lines=True).write([{"photo": "a.png", "number": "12345\u2026"}])
    assert json.loads(shown.getvalue()) == {"photo": "a.png", "number": "12345\u2026"}


def test_a_picture_without_a_number_is_said_to_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    length, digits = np.zeros((2, 7)), np.zeros((2, 5, 10))
    length[0, 0] = length[1, 2] = 9.0
    predictions = decode_predictions(length, digits)
    rows = [prediction_json(name, predictions, index) for index, name in enumerate(("wall.png", "house.png"))]
    PredictionPrinter(False, False).write(rows)
    _, wall, house = capsys.readouterr().out.splitlines()
    assert re.split(" {2,}", wall)[1] == "no number" and re.split(" {2,}", house)[1] == "00"
    assert wall.index("0.99") == house.index("0.0")
    assert rows[0]["number"] == "" and rows[0]["length"] == 0 and rows[0]["digits"] == []


def test_a_large_picture_without_a_box_is_warned_of(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, width in (("a.png", 501), ("b.jpg", 500), ("c.png", 900)):
        Image.new("RGB", (width, 20)).save(tmp_path / name)
    assert predict(tmp_path) == 0
    assert "warning: what is larger than 500 pixels (2 of 3) was read as if" in capsys.readouterr().err
    assert predict(tmp_path / "c.png", "--box", "3,3,40,10") == 0
    assert capsys.readouterr().err == "Read 1 of 1 pictures.\n"


def test_a_box_is_asked_for_where_no_number_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (60, 40), (90, 120, 150)).save(wall := tmp_path / "wall.png")
    for options, asked in (([], 1), (["--box", "5,5,30,20"], 0)):
        assert main("trainer", "", COMMANDS, ["predict", "--run-dir", "pretrained", str(wall), *options]) == 0
        printed = capsys.readouterr()
        assert "no number" in printed.out
        assert printed.err.count("note: in 1 of 1 pictures no number was found; give --box X,Y,W,H") == asked
