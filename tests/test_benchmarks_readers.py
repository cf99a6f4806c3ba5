"""The benchmark of readers: every way reads the same complete examples, and the table's ratios are right."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from benchmarks.readers.__main__ import main, table, targets
from benchmarks.readers.job import Job
from benchmarks.readers.peers import make_file
from benchmarks.readers.ways import WAYS, Measured, missing, read
from tests.conftest import Shared
from tfrecords import Manifest
from tfrecords.cli import main as run_command
from tfrecords.record.codec import png_bytes
from tfrecords.record.schema import DigitExample

ROOT = Path(__file__).parents[1]
KINDS = ("raw", "raw, two sizes", "png, two sizes")


@pytest.fixture(scope="module")
def jobs(drawn: Path, shared: Shared) -> dict[str, Job]:
    """Work on the examples of one shard and a half, for each of `KINDS`."""

    def fill(folder: Path) -> None:
        for kind in KINDS:
            encoding, _, sizes = kind.partition(", ")
            arguments = ["--source", "svhn", "--input", str(drawn), "--output", str(folder / kind)]
            arguments += ["--jitters", "0", "--examples-per-shard", "20"] if sizes else ["--examples-per-shard", "100"]
            assert run_command("beam_jobs", "", COMMANDS, ["prepare", *arguments, "--encoding", encoding]) == 0

    folder = shared("readers", fill)
    return {kind: _job(folder / kind) for kind in KINDS}


def _job(folder: Path) -> Job:
    shards = Manifest.load(folder).split("train").shards
    job = Job.of(folder, "train", shards[0].examples + shards[1].examples // 2)
    assert job.paths == [folder / shard.file for shard in shards[:2]] and len(shards) > 2
    return job


@pytest.fixture(params=KINDS)
def job(request: pytest.FixtureRequest, jobs: dict[str, Job]) -> Job:
    return jobs[request.param]


# WebDataset leaves a tar file to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("name", [name for name in WAYS if name != "tfrecord"])
@pytest.mark.slow
def test_every_way_gives_every_example_in_full(name: str, job: Job, tmp_path: Path) -> None:
    if said := missing(name):
        pytest.skip(said)
    if WAYS[name].files:
        job = job.on(str(make_file(WAYS[name].files, job, tmp_path)))
    check(name, job)


@pytest.mark.slow
def test_the_tfrecord_package_gives_every_example_in_full(jobs: dict[str, Job]) -> None:
    if said := missing("tfrecord"):
        pytest.skip(said)
    # It and TensorFlow would both describe tf.train.Example to protobuf, which refuses the second.
    program = (
        f"from tests.test_benchmarks_readers import *; [check('tfrecord', job) for job in {list(jobs.values())!r}]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def check(name: str, job: Job) -> None:
    """Compares every attribute of every example that a way reads, twice, with `tfrecords.open`."""
    expected = {example.key: example for example in job.open()}
    assert len(expected) == job.examples
    module, function = WAYS[name].function.split(":")
    start_pass = getattr(import_module(module), function)(job)
    for _ in range(2):
        found = list(_rows(start_pass(), WAYS[name].gives == "batches"))
        assert sorted(_text(row["key"]) for row in found) == sorted(expected)
        for row in found:
            _assert_equal(row, expected[_text(row["key"])])


def _rows(items: Iterator[Any], batched: bool) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, DigitExample):
            yield item.to_dict()
        elif batched:
            yield from ({name: item[name][index] for name in item} for index in range(len(item["key"])))
        else:
            yield item


def _assert_equal(row: dict[str, Any], example: DigitExample) -> None:
    assert _text(row["text"]) == example.text
    for name in ("image", "digits", "length", "crop_box", "jitter_offset", "source_size", "boxes"):
        value, expected = np.asarray(row[name]), np.asarray(getattr(example, name))
        if name == "image" and type(row[name]).__module__ == "torch":
            value = np.moveaxis(value, 0, -1)
        # The tfrecord package gives a single value as an array of one.
        value = value.reshape(1)[0] if name == "length" else value
        assert value.dtype == expected.dtype, name
        np.testing.assert_array_equal(value, expected, err_msg=name)


def _text(value: Any) -> str:
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.decode() if isinstance(value, bytes) else str(value)


def test_the_files_for_peers_hold_the_same_bytes_as_ours(records: Path, tmp_path: Path) -> None:
    pytest.importorskip("array_record")
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    job = Job.of(records, "train", 100)
    stored = [record for path in job.paths for record in tfrecords.RecordFile(str(path))][:100]
    assert list(ArrayRecordDataSource([str(make_file("arrayrecord", job, tmp_path))])) == stored
    pictures = [png_bytes(example.image) for example in job.open()]
    tar = make_file("webdataset-png", job, tmp_path).read_bytes()
    assert all(picture in tar for picture in pictures)
    assert tar.count(b".json\0") == 100


@pytest.mark.slow
def test_the_table_has_a_row_a_way_and_says_what_is_left_out(
    records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tfrecord" else find(name))
    names = ["tf.data", "open", "random", "batches"]
    options = ["--only", ",".join(["tfrecord", *reversed(names)]), "--repeats", "1", "--output", str(tmp_path)]
    assert main(["--data", str(records), *options]) == 0

    out = capfd.readouterr().out.splitlines()
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out if line.startswith("|")]
    assert head == ["way", "gives", "checks", "examples", "seconds", "examples/s", "of tf.data"]
    assert [row[0] for row in rows] == [WAYS[name].title for name in names]
    assert {row[3] for row in rows} == {str(len(tfrecords.open(records, "train")))}
    assert rows[0][6] == "1.00" and all(float(row[6]) > 0 for row in rows)
    said = [line.split(": ")[0][6:] for line in out if line.startswith(("pass", "FAIL"))]
    assert said == ["in order against tf.data", "random access"]
    assert out[-2].startswith(("Core ", "Several cores"))
    assert out[-1] == "Left out: tfrecord package. It needs tfrecord: pip install 'streetdigits[bench]'."
    assert not any(tmp_path.iterdir())


def test_ratios_and_targets_are_computed_from_the_rows() -> None:
    rows = {
        "tf.data": Measured(1000, 0.01),
        "open": Measured(1000, 0.0125),
        "random": Measured(1000, 0.0200),
        "unverified": Measured(1000, 0.005),
    }
    lines = table(rows).splitlines()
    assert [line.split("|")[-2].strip() for line in lines[2:6]] == ["1.00", "0.80", "0.50", "2.00"]
    assert [line.split("|")[-3].strip() for line in lines[2:6]] == ["100,000", "80,000", "50,000", "200,000"]
    assert "WRONG" not in table(rows)
    assert targets(rows) == [
        "pass  in order against tf.data: 0.80, at least 0.8",
        "pass  random access: 50,000 examples/s, at least 50,000",
    ]
    slow = {"random": Measured(999, 0.02), "open": Measured(1000, 0.02)}
    assert targets(slow) == ["FAIL  random access: 49,950 examples/s, at least 50,000"]
    assert "| - |" in table(slow).replace("         -", "-") and "WRONG: not all ways" in table(slow)
    assert targets({"tf.data": rows["tf.data"], "open": slow["open"]})[0].startswith(
        "FAIL  in order against tf.data: 0.50"
    )


def test_a_failed_way_prints_its_error_and_the_others_continue(
    records: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "records"
    shutil.copytree(records, copy)
    (shard,) = copy.glob("*-train.tfrecord-00000-*")
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    assert main(["--data", str(copy), "--only", "open,unverified", "--repeats", "1"]) == 0
    out, err = capfd.readouterr()
    assert "in order ... failed: tfrecords.errors.UserError: " in err and f"{shard}: record 0 at byte 0" in err
    assert WAYS["unverified"].title in out and WAYS["open"].title not in out


def test_the_clock_covers_all_examples(records: Path) -> None:
    job = Job.of(records, "train", 1000)
    assert job.examples == len(tfrecords.open(records, "train"))
    for name in ("random", "batches"):
        measured = read(name, job)
        assert measured.examples == job.examples
        assert measured.per_s == pytest.approx(job.examples / measured.seconds)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "open,nothing"], "Received: nothing"),
        (["--examples", "0"], "Received: 0 and 3"),
        (["--split", "extra"], "Received: extra"),
    ],
)
def test_invalid_options_are_refused(
    records: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(records), *options])
    assert said in capsys.readouterr().err
