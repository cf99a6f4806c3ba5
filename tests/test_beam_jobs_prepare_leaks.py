"""The same picture in several splits: named, refused or left out, and left out again by a rerun."""

import json
import random
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.annotation import Annotation, DeadLetter, pack
from beam_jobs.job.pictures import Picture, Read, content_digest
from beam_jobs.job.runner import _DEFAULT_RUNNER
from beam_jobs.prepare import leaks
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.leaks import FindLeaks, leaks_among, leaves_out, without_leaks
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.split_warnings import COLUMNS, shared_pictures
from beam_jobs.prepare.survey import Survey
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place

PICTURES: dict[str, Picture] = {
    "train/1": b"one",
    "train/2": b"two",
    "train/3": b"three",
    "train/4": np.full((2, 2, 1), 7, np.uint8),
    "train/5": b"five",
    "train/6": b"one",
    "val/1": b"two",
    "val/2": b"four",
    "test/1": b"one",
    "test/2": b"two",
    "test/3": np.full((2, 2, 1), 7, np.uint8),
    "test/4": np.full((4, 1, 1), 7, np.uint8),
    "test/5": b"five",
}
SPLIT = {"train": "train", "val": "validation", "test": "test"}
PLAN = Plan(PrepareConfig(), (), {}, Place("records"), "1", Survey(5, {}))
DEAD = DeadLetter("annotation", "bad_box", "test/5: ...")
FOUND = {
    ("train", "train/1"): "test/1",
    ("train", "train/2"): "test/2",
    ("train", "train/4"): "test/3",
    ("train", "train/6"): "test/1",
    ("validation", "val/1"): "test/2",
}
"""What is to be left out: test/5, which equals train/5, is rejected itself."""


def _annotations() -> list[tuple[str, Annotation]]:
    made = []
    for index, picture in enumerate([*PICTURES, "test/missing"]):
        subset, name = picture.split("/")
        dead = DEAD if picture == "test/5" else None
        made += [(SPLIT[subset], Annotation(subset, name, index, "1", (), dead, part=part)) for part in (1, 2)]
    return made


def _read(name: str) -> Picture:
    if name not in PICTURES:
        raise FileNotFoundError(2, "No such file", name)
    return PICTURES[name]


def _reader(plan: Plan) -> Read:
    return _read


@pytest.mark.parametrize("shards", [1, 3])
def test_a_picture_stays_in_the_split_by_which_models_are_compared(shards: int) -> None:
    annotations = _annotations()
    random.Random(shards).shuffle(annotations)
    keys = {(split, index % shards) for index, (split, _) in enumerate(annotations)}
    lists = [
        (key, pack([one for index, (split, one) in enumerate(annotations) if (split, index % shards) == key]))
        for key in sorted(keys)
    ]
    with beam.Pipeline(runner=_DEFAULT_RUNNER) as pipeline:
        found = pipeline | beam.Create(lists) | FindLeaks(PLAN, _reader)
        assert_that(found, equal_to(list(FOUND.items())))


def test_the_choice_does_not_depend_on_the_order() -> None:
    copies = [("train", "train/2"), ("validation", "val/9"), ("train", "train/10"), ("validation", "val/1")]
    expected = [(("train", "train/10"), "val/1"), (("train", "train/2"), "val/1")]
    for seed in range(5):
        random.Random(seed).shuffle(copies)
        assert list(leaks_among(copies)) == expected
    assert not list(leaks_among(copies[:1])) and not list(leaks_among([("train", "a/1"), ("train", "a/2")]))


def test_what_nobody_has_told_the_number_of_stays_and_costs_train_only() -> None:
    copies = [(split, f"{split}/1") for split in ("train", "validation", "predict")]
    assert list(leaks_among(copies)) == [(("train", "train/1"), "validation/1")]
    assert list(leaks_among([copies[0], copies[2]])) == [(("train", "train/1"), "predict/1")]
    assert not list(leaks_among([("test", "test/1"), copies[2]]))


def test_pixels_of_another_shape_are_another_picture() -> None:
    given = np.arange(12, dtype=np.uint8)
    digests = {content_digest(given.reshape(shape)) for shape in ((2, 6, 1), (6, 2, 1), (2, 2, 3))}
    assert len({*digests, content_digest(given.tobytes())}) == 4


def test_what_is_left_out_is_a_dead_letter_that_names_what_stays() -> None:
    annotations = [one for split, one in _annotations() if split == "train"]
    out = list(without_leaks(annotations, "train", FOUND))
    assert [one.picture for one in out if not one.dead] == ["train/3"] * 2 + ["train/5"] * 2
    assert out[0].dead == DeadLetter(
        "annotation",
        "leak",
        "train/1@1: With --on-leak drop, a picture must be in one split. Received: the content of test/1",
    )
    assert [replace(one, dead=None) for one in out] == annotations
    rejected = replace(annotations[0], dead=DEAD)
    assert list(without_leaks([rejected], "train", FOUND)) == [rejected]


ROWS = {
    "left out": ("1", "annotation", "leak", True),
    "rejected by itself": ("1", "annotation", "bad_box", True),
    "no leak": ("3", None, None, True),
    "to be left out now": ("1", None, None, False),
    "to be left out now, though its box is outside": ("1", "crop", "box_outside", False),
    "no leak any more": ("3", "annotation", "leak", False),
}


@pytest.mark.parametrize(("name", "stage", "reason", "expected"), ROWS.values(), ids=ROWS)
def test_a_complete_shard_is_kept_if_the_same_pictures_are_left_out(
    name: str, stage: str | None, reason: str | None, expected: bool
) -> None:
    rows = [("train", "5", None, None), ("train", name, stage, reason)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    table = pa.table(dict(zip(("subset", "name", "stage", "reason"), columns, strict=True)))
    assert leaves_out(table, "train", FOUND) == expected


def test_a_machine_that_lacks_files_ends_the_job_instead_of_hiding_a_leak() -> None:
    def read(name: str) -> Picture:
        raise OSError(24, "Too many open files")

    element = (("train", 0), pack([Annotation("train", "1", 0, "1")]))
    with pytest.raises(UserError, match="the machine lacks a resource"):
        list(leaks._digests(element, PLAN, lambda plan: read))


def _make(folder: Path, *shades: int) -> None:
    folder.mkdir(parents=True)
    names = [f"{number}.png" for number in range(1, len(shades) + 1)]
    for name, shade in zip(names, shades, strict=True):
        Image.new("RGB", (30, 30), (shade, 0, 0)).save(folder / name)
    write_digit_struct(folder / "digitStruct.mat", names, [(DigitBox(1, 5, 5, 10, 20),)] * len(names))


def _prepare(source: Path, output: Path, *options: str) -> int:
    sizes = ("--record-size", "16", "--crop-size", "20", "--validation-fraction", "0", "--jitters", "0")
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *sizes, *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


@pytest.fixture(scope="module")
def svhn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures for training, one of which is a validation picture too, and two of which are in test."""
    folder = tmp_path_factory.mktemp("source") / "svhn"
    _make(folder / "train", 10, 20, 30, 40)
    _make(folder / "val", 20, 50)
    _make(folder / "test", 30, 50, 10)
    return folder


def test_a_dataset_is_made_without_the_pictures_that_are_in_another_split(svhn: Path, tmp_path: Path) -> None:
    assert _prepare(svhn, tmp_path / "records", "--on-leak", "drop") == 0
    manifest = Manifest.load(tmp_path / "records")
    assert {split: info.pictures for split, info in manifest.splits.items()} == {"train": 1, "validation": 1, "test": 3}
    assert manifest.dead_letters == {"leak": 4} and manifest.config["on_leak"] == "drop"
    letters = (tmp_path / "records" / "dead_letters.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in letters] == ["train/1.png", "train/2.png", "train/3.png", "val/2.png"]


def test_a_rerun_keeps_the_shards_that_leave_out_the_same(
    svhn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "records"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="pulled"):
        patch.setattr("beam_jobs.prepare.publish_dataset.dead_letters_jsonl", _pull_the_plug)
        _prepare(svhn, output, "--on-leak", "drop")
    assert not (output / "manifest.json").exists()
    capsys.readouterr()
    assert _prepare(svhn, output, "--on-leak", "drop") == 0
    assert "3 shards were already complete, 0 were written" in capsys.readouterr().out
    assert Manifest.load(output).dead_letters == {"leak": 4}


def _pull_the_plug(table: pa.Table) -> bytes:
    raise RuntimeError("pulled")


def test_nothing_is_published_of_splits_that_share_pictures(
    svhn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _prepare(svhn, tmp_path / "records", "--on-leak", "fail") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line == (
        "error: test shares 2 of its 3 pictures with train, byte for byte "
        "(test/1.png = train/3.png, test/3.png = train/1.png); "
        "test shares 1 of its 3 pictures with validation, byte for byte (test/2.png = val/2.png); "
        "validation shares 1 of its 2 pictures with train, byte for byte (val/1.png = train/2.png). "
        "Nothing was published (--on-leak fail); --on-leak drop leaves such pictures out."
    )
    assert not (tmp_path / "records" / "manifest.json").exists()
    assert (tmp_path / "records" / "manifest.rejected.json").exists()
    assert _prepare(svhn / "val", tmp_path / "alone", "--on-leak", "fail") == 0


def _table(*rows: tuple[str, str, int, int, str | None]) -> pa.Table:
    parts = [(f"{subset}/{name}", subset, name, SPLIT[subset], *rest) for subset, name, *rest in rows]
    return pa.table(dict(zip(COLUMNS, map(list, zip(*parts, strict=True)), strict=True)))


def test_the_first_pictures_that_splits_share_are_named() -> None:
    rows = [("train", str(number), 10, number, None) for number in range(1, 6)]
    copies = [("test", name, size, checksum, reason) for _, name, size, checksum, reason in reversed(rows)]
    table = _table(*rows, *copies, ("test", "x", 11, 1, None))
    (shared,) = shared_pictures(table)
    pairs = ", ".join(f"test/{number} = train/{number}" for number in (1, 2, 3))
    assert str(shared) == f"test shares 5 of its 6 pictures with train, byte for byte ({pairs}, ...)"


def test_equal_checksums_of_other_pictures_are_told_apart_by_reading_them() -> None:
    rows = [
        ("train", "1", 4, 9, None),
        ("test", "1", 4, 9, None),
        ("train", "4", 4, 9, None),
        ("test", "3", 4, 9, None),
    ]
    table = _table(*rows)
    (shared,) = shared_pictures(table)
    assert shared.pictures == 2
    (shared,) = shared_pictures(table, lambda name: {"train/1": b"a", "test/1": b"b"}.get(name) or _read(name))
    assert (shared.pictures, shared.named) == (1, (("test/3", "train/4"),))


def test_pictures_that_are_gone_count_by_their_checksums(tmp_path: Path) -> None:
    table = _table(("train", "1", 4, 9, None), ("test", "1", 4, 9, None))
    assert len(shared_pictures(table, lambda name: (tmp_path / name).read_bytes())) == 1
