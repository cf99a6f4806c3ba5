"""Dataset directories of schema version 1, written by the last version that wrote it, read by every door."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfrecords
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.record.codec import decode
from tfrecords.record.schema import DigitExample, check_example

FOLDER = Path(__file__).parent / "schema1"
EXPECTED: dict[str, dict[str, list[dict[str, Any]]]] = json.loads((FOLDER / "expected.json").read_text())
CASES = [(name, split) for name, splits in EXPECTED.items() for split in splits]


def described(example: DigitExample) -> dict[str, Any]:
    """What expected.json has of an example."""
    arrays = {name: getattr(example, name).tolist() for name in ("digits", "crop_box", "jitter_offset", "source_size")}
    return {
        "key": example.key,
        "text": example.text,
        "length": example.length,
        "image_sha256": hashlib.sha256(example.image.tobytes()).hexdigest(),
        "shape": list(example.image.shape),
        "boxes": example.boxes.tolist(),
        **arrays,
    }


@pytest.mark.parametrize(("name", "split"), CASES)
def test_examples_are_those_that_the_old_version_read(name: str, split: str) -> None:
    examples = tfrecords.open(FOLDER / name, split)
    assert examples.manifest.schema_version == 1 and examples.manifest.labels == tfrecords.Labels()
    assert [described(example) for example in examples] == EXPECTED[name][split]
    for index, example in enumerate(examples):
        check_example(example)
        assert example.has_digit_boxes
        record = examples.record(index)[0]
        assert described(decode(record)) == described(example)
    batch = examples.batch(range(len(examples)))
    assert batch["text"].tolist() == [row["text"] for row in EXPECTED[name][split]] and batch["has_digit_boxes"].all()
    cached = ImageCache(FOLDER / name, split).take(np.arange(len(examples)))
    np.testing.assert_array_equal(cached.digits, [row["digits"] for row in EXPECTED[name][split]])


def _as_version_2(name: str, folder: Path) -> Path:
    """Copies a directory, and calls it one of version 2."""
    shutil.copytree(FOLDER / name, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    labels = {"max_length": 5, "alphabet": "0123456789"}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "schema_version": 2, "labels": labels}))
    return folder


@pytest.mark.parametrize("name", ["raw", "png"])
def test_its_records_are_refused_in_a_dataset_of_version_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _as_version_2(name, tmp_path / name)
    examples = tfrecords.open(folder, "test")
    readers: list[Callable[[], Any]] = [
        lambda: examples[0],
        lambda: examples.batch([0, 1]),
        lambda: ImageCache(folder, "test").take(np.arange(1)),
        lambda: decode(examples.record(0)[0], "here", version=2),
    ]
    for read in readers:
        with pytest.raises(UserError, match=r"feature has_digit_boxes must hold 1 int64 values\. Received: 0"):
            read()
    assert main("tfrecords", "", COMMANDS, ["validate", str(folder)]) == 1
    assert "feature has_digit_boxes must hold 1 int64 values" in capsys.readouterr().err


def test_its_manifest_has_no_labels() -> None:
    manifest = json.loads((FOLDER / "raw" / MANIFEST).read_text())
    with pytest.raises(UserError, match=r"m: labels must be missing in a manifest of schema version 1\. Received: \{"):
        Manifest.parse(json.dumps({**manifest, "labels": {"max_length": 5, "alphabet": "01"}}).encode(), "m")


@pytest.mark.parametrize("name", EXPECTED)
def test_commands_read_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(FOLDER / name)
    commands = [
        ["validate", folder],
        ["inspect", folder],
        ["show", folder, "--output", str(tmp_path / "sheet.png")],
        ["export", folder, "--to", "parquet", "--output", str(tmp_path / "parquet"), "--jobs", "1"],
    ]
    for command in commands:
        assert main("tfrecords", "", COMMANDS, command) == 0, command
    printed = capsys.readouterr().out
    assert "is valid: " in printed and "schema version 1" in printed and "has_digit_boxes" not in printed
