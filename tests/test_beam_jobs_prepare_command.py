"""The main job, end to end: on drawn pictures and on SVHN's own."""

import csv
import gzip
import hashlib
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.job.runner import parse_beam_options
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.execute import run_pipeline
from beam_jobs.prepare.monitoring import read_metrics
from beam_jobs.prepare.output_lock import lock_output
from beam_jobs.prepare.plan import make_plan
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.svhn.source import SOURCE
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tests.examples import assert_equal_examples
from tests.real_data import data_folder
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import find_errors
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox, CropSpec, crop_box, window
from tfrecords.images.decode import cut


def prepare(source: Path, output: Path, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_every_picture_is_in_one_split_and_validation_shares_none_with_train(records: Path) -> None:
    manifest = Manifest.load(records)
    pictures = {
        split: {example.key.split("#")[0] for example in tfrecords.open(records, split)} for split in manifest.splits
    }
    assert sum(map(len, pictures.values())) == 80 == len(set.union(*pictures.values()))
    assert pictures["test"] == {f"test/{number}.png" for number in range(1, 21)}
    assert pictures["validation"] and not pictures["validation"] & pictures["train"]


def test_training_pictures_have_five_jitters_and_others_one_centre(records: Path) -> None:
    keys = defaultdict(list)
    for example in tfrecords.open(records, "train"):
        keys[example.key.split("#")[0]].append(example)
    for examples in keys.values():
        assert sorted(example.key[-1] for example in examples) == list("01234")
        assert len({example.text for example in examples}) == 1
    for example in tfrecords.open(records, "test"):
        assert example.key.endswith("#0") and example.jitter_offset.tolist() == [5, 5]


def test_pixels_and_labels_are_those_of_the_picture_that_the_key_names(records: Path, drawn: Path) -> None:
    table = pq.read_table(records / ANNOTATIONS).to_pylist()
    rows = {row["key"]: row for row in table}
    for split in ("train", "test"):
        for example in list(tfrecords.open(records, split))[:25]:
            row = rows[example.key.split("#")[0]]
            boxes = [BoundingBox(**box) for box in row["boxes"]]
            with Image.open(drawn / row["key"]) as picture:
                box = crop_box(boxes, 0.3, picture.height, picture.width)
                crop = cut(np.asarray(picture.convert("RGB")), box, (64, 64))
            expected = window(crop, tuple(example.jitter_offset), (54, 54))
            np.testing.assert_array_equal(example.image, expected)
            assert example.text == row["text"] and example.crop_box.tolist() == list(box)


def test_shards_are_not_in_file_order(records: Path) -> None:
    numbers = [int(example.key.split("/")[1].split(".")[0]) for example in tfrecords.open(records, "train")]
    assert abs(np.corrcoef(numbers, range(len(numbers)))[0, 1]) < 0.4


@pytest.mark.parametrize(
    "options",
    [
        ["--workers", "2"],
        ["--direct_running_mode", "multi_threading", "--direct_num_workers", "2"],
        ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"],
    ],
    ids=["two workers", "two threads of Beam", "two processes of Beam"],
)
@pytest.mark.slow
def test_the_bytes_are_the_same_however_the_job_runs(
    records: Path, drawn: Path, tmp_path: Path, options: list[str]
) -> None:
    common = ["--validation-fraction", "0.2", "--examples-per-shard", "80", "--seed", "3"]
    assert prepare(drawn, tmp_path / "again", *common, *options) == 0
    assert digests(tmp_path / "again") == digests(records)


def test_another_seed_makes_other_splits_and_jitters(records: Path, drawn: Path, tmp_path: Path) -> None:
    common = ["--validation-fraction", "0.2", "--examples-per-shard", "80"]
    assert prepare(drawn, tmp_path / "other", *common, "--seed", "4") == 0
    keys = [{example.key for example in tfrecords.open(folder, "train")} for folder in (records, tmp_path / "other")]
    assert keys[0] != keys[1]


def test_whole_crops_are_stored_for_jittering_while_training(drawn: Path, tmp_path: Path) -> None:
    assert prepare(drawn, tmp_path / "png", "--jitters", "0", "--encoding", "png") == 0
    assert prepare(drawn, tmp_path / "raw", "--jitters", "0") == 0
    for split, size in (("train", 64), ("test", 54)):
        pairs = zip(tfrecords.open(tmp_path / "png", split), tfrecords.open(tmp_path / "raw", split), strict=True)
        for from_png, from_raw in pairs:
            assert from_raw.image.shape == (size, size, 3)
            assert_equal_examples(from_png, from_raw)
    assert not list(find_errors(tmp_path / "raw", Manifest.load(tmp_path / "raw")))
    assert prepare(drawn, tmp_path / "whole", "--jitters", "0", "--whole-crops") == 0
    manifest = Manifest.load(tmp_path / "whole")
    assert manifest.image.shape == (64, 64, 3) and not list(find_errors(tmp_path / "whole", manifest))
    middles = {example.key: example for example in tfrecords.open(tmp_path / "raw", "test")}
    whole = tfrecords.open(tmp_path / "whole", "test")
    for example in whole:
        middle = middles.pop(example.key)
        np.testing.assert_array_equal(example.image[5:59, 5:59], middle.image)
        there = example.boxes[: example.length] - 5
        np.testing.assert_allclose(there, middle.boxes[: middle.length], atol=1e-4)
    assert not middles


def _broken(folder: Path) -> Path:
    """A source with one good picture and one of each kind that cannot be used."""
    folder.mkdir()
    one, six = (DigitBox(1, 5, 5, 10, 20),), tuple(DigitBox(1, 9 * place, 5, 8, 20) for place in range(6))
    entries = {
        "1.png": one,
        "2.png": six,
        "3.png": one,
        "4.png": one,
        "5.png": (DigitBox(1, 500, 5, 10, 20),),
        "6.png": (DigitBox(1, 5, 5, 0, 20),),
        "../7.png": one,
        "8.png": one,
    }
    write_digit_struct(folder / "digitStruct.mat", list(entries), entries.values())
    picture = Image.new("RGB", (60, 40), (90, 80, 70))
    for name in ("1.png", "2.png", "5.png", "6.png"):
        picture.save(folder / name)
    (folder / "4.png").write_bytes((folder / "1.png").read_bytes()[:60])
    (folder / "8.png").mkdir()
    return folder


REASONS = {
    "photos/2.png": ("annotation", "too_long"),
    "photos/3.png": ("picture", "missing_picture"),
    "photos/4.png": ("picture", "unreadable_picture"),
    "photos/5.png": ("crop", "box_outside"),
    "photos/6.png": ("annotation", "empty_box"),
    "photos/#7": ("annotation", "bad_name"),
    "photos/8.png": ("picture", "unreadable_picture"),
}


def test_bad_pictures_become_dead_letters_and_the_others_records(tmp_path: Path) -> None:
    source, output = _broken(tmp_path / "photos"), tmp_path / "records"
    assert prepare(source, output, "--max-dead-fraction", "1", "--validation-fraction", "0") == 0
    letters = [json.loads(line) for line in (output / DEAD_LETTERS).read_text().splitlines()]
    assert {letter["key"]: (letter["stage"], letter["reason"]) for letter in letters} == REASONS
    assert all("Received: " in letter["detail"] or "no such picture" in letter["detail"] for letter in letters)
    manifest = Manifest.load(output)
    (source_info,) = manifest.sources
    assert (source_info.pictures, source_info.accepted, source_info.rejected) == (8, 1, 7)
    assert len(list(tfrecords.open(output, "train"))) == 5
    rows = pq.read_table(output / ANNOTATIONS).to_pylist()
    assert [row["reason"] is None for row in rows] == [True] + [False] * 7
    assert rows[1]["text"] == "111111"
    assert not list(find_errors(output, manifest))


def test_the_job_counts_what_the_manifest_states(tmp_path: Path) -> None:
    output = tmp_path / "records"
    subsets = SOURCE.find_subsets(Input(Place(_broken(tmp_path / "photos"))), SourceOptions())
    plan = make_plan(PrepareConfig(max_dead_fraction=1.0), subsets, Place(output))
    with lock_output(plan, overwrite=False):
        (plan.scratch / "progress").path.mkdir()
        counters, distributions = read_metrics(run_pipeline(plan, parse_beam_options([], "prepare")))
    manifest = Manifest.load(output)
    assert {name: count for name, count in counters.items() if name.startswith("dead_")} == {
        f"dead_{reason}": count for reason, count in manifest.dead_letters.items()
    }
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    assert counters["examples_written"] == sum(shard.examples for shard in shards)
    assert counters["bytes_written"] == sum(shard.bytes for shard in shards)
    assert counters["shards_written"] == len(shards)
    read = [row["source_bytes"] for row in pq.read_table(output / ANNOTATIONS).to_pylist() if row["source_bytes"]]
    assert (counters["pictures_read"], counters["bytes_read"]) == (len(read), sum(read))
    sizes, decode = distributions["picture_bytes"], distributions["picture_decode_us"]
    assert (sizes.count, sizes.min, sizes.max) == (len(read), min(read), max(read))
    assert 0 < decode.count < len(read), "one of the files is no picture"


def test_too_many_dead_letters_fail_the_job_after_all_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "records"
    assert prepare(_broken(tmp_path / "photos"), output) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 7 of 8 pictures were rejected (1 bad_name, 1 box_outside, 1 empty_box, 1 missing_")
    assert (
        "1 too_long, 2 unreadable_picture); at most 1 % may be (--max-dead-fraction). Nothing was published; " in error
    )
    assert error.endswith(f"; see {output / DEAD_LETTERS}.")
    assert len((output / DEAD_LETTERS).read_text().splitlines()) == 7
    assert not (output / "manifest.json").exists()


def test_a_dataset_is_not_overwritten_unasked_and_leaves_no_shard_when_it_is(
    drawn: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(records, tmp_path / "copy"))
    (output / ".prepare" / "run-dead").mkdir(parents=True)
    (output / ".prepare" / "run-dead" / "svhn-train.tfrecord-00000-of-00003").write_bytes(b"left by a killed run")
    before = digests(output)
    assert prepare(drawn, output, "--shards", "2") == 1
    assert "holds a dataset with other settings: give --overwrite" in capsys.readouterr().err
    assert digests(output) == before
    assert prepare(drawn, output, "--shards", "2", "--overwrite") == 0
    assert not list(find_errors(output, Manifest.load(output)))
    assert len(list(output.glob("*-train.tfrecord-*"))) == len(list(output.glob("*-train.idx-*"))) == 2
    assert not list(output.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nothing", "3"], "prepare takes its own options (see --help) and Beam's"),
        (["--subsets", "extra"], "holds the subsets train, test. Received: extra"),
        (["--record-size", "70"], "record_size must be at least 1 and at most crop_size"),
        (["--validation-fraction", "2"], "validation_fraction must be 0..1. Received: 2.0"),
    ],
)
def test_a_wrong_option_is_one_line_and_makes_nothing(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert prepare(drawn, tmp_path / "out", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_input_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(tmp_path / "gone", tmp_path / "out") == 1
    assert "The input must be a folder that exists. Received: " in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert prepare(tmp_path / "empty", tmp_path / "out") == 1
    assert "The input must hold digitStruct.mat, or folders that do: train, test, extra." in capsys.readouterr().err


def _published(subset: str) -> dict[str, list[tuple[int, ...]]]:
    """SVHN's boxes as (left, top, width, height, digit), by picture, from a table made by others."""
    rows = defaultdict(list)
    with gzip.open(data_folder() / "svhn_annotations" / f"{subset}.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            box = tuple(int(row[name]) for name in ("left", "top", "width", "height"))
            rows[row["name"]].append((*box, int(row["label"]) % 10))
    return rows


def test_svhn_s_own_entries_are_the_published_ones_and_its_absent_pictures_dead_letters(tmp_path: Path) -> None:
    output = tmp_path / "records"
    options = ["--max-dead-fraction", "1", "--validation-fraction", "0"]
    assert prepare(data_folder() / "svhn_sample", output, *options) == 0
    table = pq.read_table(output / ANNOTATIONS).to_pylist()
    assert [sum(row["subset"] == name for row in table) for name in ("train", "test", "extra")] == [39, 40, 40]
    for subset in ("train", "test"):
        published = _published(subset)
        for row in (row for row in table if row["subset"] == subset):
            boxes = [
                (b["xmin"], b["ymin"], b["xmax"] - b["xmin"], b["ymax"] - b["ymin"], int(digit))
                for b, digit in zip(row["boxes"], row["text"], strict=True)
            ]
            assert boxes == sorted(published[row["name"]], key=lambda box: box[0]), row["key"]
    there = {row["key"]: row["text"] for row in table if row["reason"] is None}
    known = {"train/1.png": "19", "train/2.png": "23", "train/3.png": "25"}
    known |= {"test/1.png": "5", "test/2.png": "210", "test/3.png": "6"}
    assert there == known | {f"extra/{number}.png": there[f"extra/{number}.png"] for number in (1, 2, 3)}
    assert {row["reason"] for row in table} == {None, "missing_picture"}
    sizes = {e.key: e.source_size.tolist() for e in tfrecords.open(output, "train")}
    assert sizes["train/1.png#0"] == [350, 741]
    assert not list(find_errors(output, Manifest.load(output)))


def test_the_crop_s_defaults_are_those_of_the_issue() -> None:
    assert CropSpec() == CropSpec(growth=0.3, crop_size=64, record_size=54, jitters=5)
