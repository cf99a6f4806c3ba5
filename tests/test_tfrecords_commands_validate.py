"""inspect, validate and show, on one dataset and on damaged copies of it."""

import io
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfrecords
from tests.examples import make_example
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import _open_ahead, find_errors
from tfrecords.commands.show import draw_sheet
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.files.framing import frame
from tfrecords.record.codec import encode


@pytest.fixture
def copy(records: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records, tmp_path / "copy"))


def _errors(directory: Path) -> list[str]:
    return list(find_errors(directory, Manifest.load(directory)))


def _shard(directory: Path) -> Path:
    return directory / Manifest.load(directory).split("train").shards[0].file


def _change_manifest(directory: Path, change: Callable[[dict], None]) -> None:
    content = json.loads((directory / MANIFEST).read_text())
    change(content)
    (directory / MANIFEST).write_text(json.dumps(content))


def test_a_complete_dataset_has_no_error(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("tfrecords", "", COMMANDS, ["validate", str(records)]) == 0
    assert "is valid: " in capsys.readouterr().out


def test_a_flipped_bit_is_named_with_shard_record_and_byte(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(_shard(copy).read_bytes())
    data[1000] ^= 4  # in the pixels of the first record
    _shard(copy).write_bytes(bytes(data))
    assert main("tfrecords", "", COMMANDS, ["validate", str(copy)]) == 1
    printed = capsys.readouterr().err
    assert f"{_shard(copy)}: its SHA-256 differs from the manifest's" in printed
    assert f"{_shard(copy)}: record " in printed and "the record's checksum is wrong" in printed
    assert "is not valid: " in printed


def test_a_truncated_shard_is_found(copy: Path) -> None:
    _shard(copy).write_bytes(_shard(copy).read_bytes()[:-100])
    text = "\n".join(_errors(copy))
    assert "bytes, it has" in text and "the file ends inside a record" in text and "examples, it has" in text


def test_a_missing_and_a_surplus_shard_are_found(copy: Path) -> None:
    surplus = copy / "svhn-train.tfrecord-00007-of-00009"
    _shard(copy).rename(surplus)
    errors = _errors(copy)
    assert f"{surplus}: a shard that is not in the manifest" in errors
    assert f"{_shard(copy)}: missing" in errors


def test_a_record_that_breaks_the_schema_is_found(copy: Path) -> None:
    with _shard(copy).open("ab") as stream:
        stream.write(frame(encode(make_example(key="train/strange.png#0"))))
    text = "\n".join(_errors(copy))
    assert "(train/strange.png#0): the manifest states images of shape (54, 54, 3), this one has (6, 6, 3)" in text


def test_a_duplicate_key_is_found(copy: Path) -> None:
    first = next(iter(tfrecords.open(copy, "train")))
    with _shard(copy).open("ab") as stream:
        stream.write(frame(encode(first)))
    assert f"{first.key}: 2 records have this key" in _errors(copy)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: m["sources"][0].update(accepted=7), "pictures are not 7 + "),
        (lambda m: m["dead_letters"].update(too_long=1), "0 pictures were rejected, the reasons add up to 1"),
        (lambda m: m["splits"]["train"].update(examples=1), "train: the shards' examples do not add up to 1"),
        (lambda m: m["splits"]["train"].update(pictures=1), "train: the manifest states 1 pictures, the records have"),
        (lambda m: m["files"].update({"features.json": "0"}), "features.json: its SHA-256 differs from the manifest's"),
        (lambda m: m["files"].update({"gone": "0"}), "gone: missing"),
    ],
)
def test_a_manifest_that_contradicts_the_files_or_itself_is_found(
    copy: Path, change: Callable[[dict], None], error: str
) -> None:
    _change_manifest(copy, change)
    assert error in "\n".join(_errors(copy))


def test_a_picture_that_vanished_without_a_reason_is_found(copy: Path) -> None:
    table = pq.read_table(copy / ANNOTATIONS)
    row = {**table.slice(0, 1).to_pylist()[0], "key": "train/vanished.png"}
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist([row], table.schema)]), copy / ANNOTATIONS)
    errors = _errors(copy)
    assert f"{copy / ANNOTATIONS}: 80 pictures were read, it has 81 rows" in errors
    assert f"{copy / ANNOTATIONS}: train/vanished.png has no record and no reason" in errors


def test_only_the_first_errors_are_named_when_there_are_many(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in copy.glob("*.tfrecord*"):
        path.write_bytes(b"")
    assert main("tfrecords", "", COMMANDS, ["validate", str(copy), "--max-errors", "2"]) == 1
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 2 and "stopped after 2 errors" in printed


def test_inspect_prints_splits_sources_and_features(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("tfrecords", "", COMMANDS, ["inspect", str(records)]) == 0
    output = capsys.readouterr().out
    for text in ("images of 54 x 54 x 3", "validation", "crop.growth 0.3", "image/shape", "apache-beam"):
        assert text in output


def test_a_command_on_no_dataset_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("inspect", "validate"):
        assert main("tfrecords", "", COMMANDS, [command, str(tmp_path)]) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("error: ") and printed.count("\n") == 1


def test_show_draws_the_pictures_enlarged(records: Path, tmp_path: Path) -> None:
    options = ["--split", "train", "--count", "5", "--scale", "3", "--output", str(tmp_path / "sheet.png")]
    assert main("tfrecords", "", COMMANDS, ["show", str(records), *options]) == 0
    first = next(iter(tfrecords.open(records, "train")))
    with Image.open(tmp_path / "sheet.png") as sheet:
        for y, x in ((0, 0), (20, 33), (53, 53)):
            assert sheet.getpixel((8 + 3 * x + 1, 8 + 3 * y + 1)) == tuple(first.image[y, x])


def test_a_sheet_has_room_for_every_example() -> None:
    examples = [make_example(f"train/{index}.png#0", size=10) for index in range(7)]
    sheet = draw_sheet(examples, scale=4, boxes=True)
    assert sheet.width >= 4 * 40 and sheet.height >= 2 * 40


def test_show_refuses_a_count_of_nothing(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "sheet.png"
    assert main("tfrecords", "", COMMANDS, ["show", str(records), "--count", "0", "--output", str(output)]) == 1
    assert "--count must be at least 1. Received: 0" in capsys.readouterr().err
    assert not output.exists()


def test_the_old_spelling_of_max_errors_works_with_a_warning(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in copy.glob("*.tfrecord*"):
        path.write_bytes(b"")
    assert main("tfrecords", "", COMMANDS, ["validate", str(copy), "--faults", "2"]) == 1
    printed = capsys.readouterr().err
    assert "warning: --faults is now --max-errors" in printed and "stopped after 2 errors" in printed


class Shelf:
    """A remote file, as far as validate opens it."""

    def __init__(self, name: str) -> None:
        self.name, self.is_remote, self.opened = name, True, threading.Event()

    def open(self) -> BinaryIO:
        self.opened.set()
        if self.name == "missing":
            raise FileNotFoundError(self.name)
        return io.BytesIO(self.name.encode())


def test_the_shard_after_a_remote_one_is_copied_meanwhile_and_no_other() -> None:
    shelves = [Shelf(name) for name in ("a", "missing", "c", "d")]
    openings = _open_ahead(shelves)  # type: ignore[arg-type]
    assert next(openings)().read() == b"a"
    assert shelves[1].opened.wait(10) and not shelves[2].opened.is_set()
    missing = next(openings)
    with pytest.raises(FileNotFoundError):
        missing()
    assert shelves[2].opened.wait(10) and not shelves[3].opened.is_set()
    assert [opening().read() for opening in openings] == [b"c", b"d"]
    assert list(_open_ahead([])) == []
