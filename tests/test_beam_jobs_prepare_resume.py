"""Killed and rerun: the directory is byte for byte what an undisturbed run makes, and nobody else's is harmed."""

import hashlib
import os
import re
import resource
import shutil
import signal
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from beam_jobs import filesystem
from beam_jobs.__main__ import COMMANDS
from tests.forked import Forked
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import find_errors
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError
from tfrecords.files.place import Place

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
OPTIONS = ["--shards", "4", "--validation-fraction", "0.2"]


def prepare(source: Path, output: Path, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *OPTIONS, *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def digests(folder: Path) -> dict[str, str]:
    files_there = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files_there}


@pytest.fixture(scope="module")
def undisturbed(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "records"
    assert prepare(drawn, output) == 0
    return output


def _run_until(source: Path, output: Path, operation: int, *options: str) -> int:
    """Runs prepare, and kills itself like `kill -9` before its n-th operation on a file below the output."""
    left = operation

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        path = str(arguments[0]) if arguments else ""
        if event in OPERATIONS and str(output) in path and "/progress" not in path:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return prepare(source, output, *options)


def _kill(source: Path, output: Path, operation: int, *options: str) -> int:
    """Returns the exit code of `_run_until`, in a process of its own."""
    return Forked(_run_until, source, output, operation, *options).wait()[0]


@pytest.mark.slow
def test_killed_at_any_file_operation_and_rerun_it_makes_the_same_bytes(
    drawn: Path, undisturbed: Path, tmp_path: Path
) -> None:
    expected = digests(undisturbed)
    output = tmp_path / "records"
    kept = set()
    for operation in (1, 3, 6, 10, 13, 15, 18, 26, 32, 35, 45, 48):
        code = _kill(drawn, output, operation)
        found = digests(output) if output.exists() else {}
        for name in expected.keys() & found.keys():
            assert found[name] == expected[name], f"{name} is not whole, killed at {operation}"
        assert all(name in expected or name.startswith(".prepare/") for name in found)
        kept |= {operation} if any("tfrecord" in name for name in found if name in expected) else set()
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert kept, "some runs were killed between the first shard and the last"
    assert prepare(drawn, output) == 0
    assert digests(output) == expected
    assert not (output / ".prepare").exists()


def test_a_rerun_writes_the_missing_shards_only(
    drawn: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "records"
    _kill(drawn, output, 24)
    shards = {path: path.stat().st_mtime_ns for path in output.glob("*.tfrecord*")}
    results = list((output / ".prepare" / "results").iterdir())
    assert 0 < len(results) < 6
    capsys.readouterr()
    assert prepare(drawn, output) == 0
    assert f"{len(results)} shards were already complete, {6 - len(results)} were written" in capsys.readouterr().out
    same = [path for path, time in shards.items() if path.stat().st_mtime_ns == time]
    assert len(same) == len(results)
    assert digests(output) == digests(undisturbed)


def test_a_shard_that_was_damaged_since_is_made_again(drawn: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "records"
    _kill(drawn, output, 24)
    shard = next(iter(output.glob("*.tfrecord*")))
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert prepare(drawn, output) == 0
    assert digests(output) == digests(undisturbed)


@pytest.mark.parametrize("data", [None, b"0 9080\n", b"garbage"])
def test_a_shard_whose_index_is_gone_or_wrong_is_made_again(
    drawn: Path, undisturbed: Path, tmp_path: Path, data: bytes | None
) -> None:
    output = tmp_path / "records"
    _kill(drawn, output, 24)
    index = next(iter(output.glob("*.idx-*")))
    index.unlink() if data is None else index.write_bytes(data)
    assert prepare(drawn, output) == 0
    assert digests(output) == digests(undisturbed)


def test_pictures_supplied_since_are_read(drawn: Path, undisturbed: Path, tmp_path: Path) -> None:
    source, output = Path(shutil.copytree(drawn, tmp_path / "svhn")), tmp_path / "records"
    (source / "train").rename(source / "elsewhere")
    (source / "train").mkdir()
    shutil.copy(source / "elsewhere" / "digitStruct.mat", source / "train")
    _kill(source, output, 28)
    assert list((output / ".prepare" / "results").iterdir())
    shutil.rmtree(source / "train")
    (source / "elsewhere").rename(source / "train")
    assert prepare(source, output) == 0
    assert digests(output) == digests(undisturbed)


def test_the_same_command_over_a_whole_dataset_changes_nothing(
    drawn: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.iterdir()}
    assert prepare(drawn, undisturbed) == 0
    assert "80 pictures were already prepared: the dataset svhn is in" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in undisturbed.iterdir()} == before


@pytest.mark.parametrize("unfinished", [False, True])
def test_another_configuration_is_refused_with_what_differs_unless_it_may_overwrite(
    drawn: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], unfinished: bool
) -> None:
    output = tmp_path / "records"
    if unfinished:
        _kill(drawn, output, 24)
    else:
        shutil.copytree(undisturbed, output)
    before = digests(output)
    assert prepare(drawn, output, "--seed", "5", "--jitters", "2") == 1
    what = "an unfinished dataset" if unfinished else "a dataset"
    error = capsys.readouterr().err
    assert error.startswith(f"error: {output} holds {what} with other settings: give --overwrite to replace it")
    assert error.endswith("Received: crop.jitters 5, now 2; seed 0, now 5\n")
    assert digests(output) == before
    assert prepare(drawn, output, "--seed", "5", "--shards", "2", "--overwrite") == 0
    manifest = Manifest.load(output)
    assert not list(find_errors(output, manifest))
    assert len(list(output.glob("*-train.tfrecord-*"))) == len(list(output.glob("*-train.idx-*"))) == 2
    assert not (output / ".prepare").exists()


def test_an_overwriting_run_that_was_killed_goes_on_where_it_was(
    drawn: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "records"
    assert prepare(drawn, output, "--seed", "5", "--shards", "3") == 0
    for operation in (4, 16, 28, 45):
        assert _kill(drawn, output, operation, "--overwrite") == -signal.SIGKILL
    capsys.readouterr()
    assert prepare(drawn, output, "--overwrite") == 0
    assert re.search(r"\d shards were already complete", capsys.readouterr().out)
    assert digests(output) == digests(undisturbed)


@pytest.mark.parametrize("left", [b"", b"[1]", b"\0" * 400, b"{}"])
def test_shards_of_a_run_whose_description_is_damaged_are_not_deleted_unasked(
    drawn: Path, tmp_path: Path, left: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "svhn-train.tfrecord-00000-of-00001").write_bytes(b"somebody's")
    (tmp_path / ".prepare").mkdir()
    (tmp_path / ".prepare" / "run.json").write_bytes(left)
    assert prepare(drawn, tmp_path) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {tmp_path} holds shards without a manifest: give --overwrite")


def test_a_damaged_manifest_in_the_output_is_named(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / MANIFEST).write_text('{"schema_version": 1, "splits": []}')
    assert prepare(drawn, tmp_path) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {tmp_path / MANIFEST} must have exactly the fields name, image")


def test_a_dataset_of_an_older_version_is_replaced_only_if_asked(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shutil.copytree(Path(__file__).parent / "schema1" / "raw", tmp_path / "records")
    before = digests(output)
    assert prepare(drawn, output) == 1
    rule = "holds a dataset of an older version, and prepare writes schema version 2: give --overwrite to replace it"
    assert f"{output} {rule}, or another --output. Received: schema version 1\n" in capsys.readouterr().err
    assert digests(output) == before
    assert prepare(drawn, output, "--overwrite") == 0
    assert not list(find_errors(output, Manifest.load(output)))


def test_shards_of_unknown_origin_are_not_deleted_unasked(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = tmp_path / "svhn-train.tfrecord-00000-of-00001"
    shard.write_bytes(b"somebody's")
    assert prepare(drawn, tmp_path) == 1
    assert capsys.readouterr().err.endswith(f"Received: {shard.name}\n")
    assert [path.name for path in tmp_path.iterdir()] == [shard.name]


def test_two_runs_at_once_are_one_too_many(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".prepare").mkdir()
    with FileLock(tmp_path / ".prepare" / "lock"):
        assert prepare(drawn, tmp_path) == 1
    rule = "Another run is writing there: wait until it has finished, or give another --output."
    assert capsys.readouterr().err == f"error: {rule} Received: {tmp_path}\n"
    assert prepare(drawn, tmp_path) == 0


def _run_with_small_files(source: Path, output: Path) -> int:
    """Runs prepare where no file may grow beyond 100 kB, which is to a program as a full disk is."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    return prepare(source, output)


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(drawn: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "records"
    code, _, errors = Forked(_run_with_small_files, drawn, output).wait()
    assert code == 1
    last = errors.splitlines()[-1]
    assert re.fullmatch(r"error: \S+tfrecord-0000\d-of-0000\d cannot be written\. Received: File too large", last)
    assert "Traceback" not in errors
    assert not (output / "manifest.json").exists()
    assert prepare(drawn, output) == 0
    assert digests(output) == digests(undisturbed)


def test_a_worker_that_outlives_its_job_writes_nothing_more(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        filesystem.publish(Place(tmp_path / "shard"), [b"late"], Place(tmp_path / "scratch that is gone"))
    assert not list(tmp_path.iterdir())
