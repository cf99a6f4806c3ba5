"""`watch` as it is called: one line for each snapshot and each error, locks, stores, Beam's runners."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare import claim
from beam_jobs.watch import command
from beam_jobs.watch.lock import CLAIM, lock_stream
from tests.arriving import SimpleInbox, drop
from tests.forked import Forked
from tests.stores import Bucket
from tests.test_beam_jobs_watch_cycle import digests, keys, watch
from tfrecords.cli import main
from tfrecords.dataset.snapshots import load_manifest, snapshot_numbers
from tfrecords.files.place import Place


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    for name in "abc":
        drop(tmp_path / "inbox", name)
    return tmp_path / "inbox"


def test_it_prints_a_line_for_each_snapshot_and_what_is_there_at_the_end(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = tmp_path / "stream"
    assert watch(inbox, stream) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("snapshot 0: 2 batches, 6 pictures, 6 examples, ")
    assert lines[1].startswith("snapshot 1: 1 batch, 3 pictures, 3 examples, ")
    assert lines[2:] == [
        f"2 snapshots were made: snapshot 1 of {stream} has 3 batches, 9 pictures, 9 examples",
        f"Next: python -m tfrecords inspect {stream}",
    ]
    assert watch(inbox, stream) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("0 snapshots were made: snapshot 1 of ")


def test_a_second_watcher_is_refused_with_one_line_and_changes_nothing(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_jobs.watch.lock._PATIENCE_S", 0.0)
    stream = tmp_path / "stream"
    with lock_stream(Place(stream)):
        assert watch(inbox, stream) == 1
    assert capsys.readouterr().err == (
        f"error: Another process watches or compacts this stream: stop it, or give another one. Received: {stream}\n"
    )
    assert list(stream.iterdir()) == []
    assert watch(inbox, stream) == 0


def test_settings_are_those_of_the_first_start(inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = tmp_path / "stream"
    assert watch(inbox, stream, "--seed", "7") == 0
    assert watch(inbox, stream, "--seed", "8") == 1
    assert "was started with --seed 7, which cannot change: leave --seed out. Received: 8\n" in capsys.readouterr().err
    drop(inbox, "d")
    assert watch(inbox, stream) == 0
    assert load_manifest(stream).seed == 7


def test_a_folder_of_another_purpose_is_refused(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], records: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    for folder in (tmp_path / "photos", records):
        before = sorted(path.name for path in folder.iterdir())
        assert watch(inbox, folder) == 1
        assert "must be a stream, with a stream.json, or a new or empty folder" in capsys.readouterr().err
        assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--limit", "5"], "A stream has no end"),
        (["--source", "table", "--max-length", "0"], "max_length"),
        (["--metrics-port", "0"], "--metrics-port"),
    ],
    ids=str,
)
def test_wrong_flags_are_one_line(
    flags: list[str], message: str, inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = watch(inbox, tmp_path / "stream", *flags)
    except SystemExit as end:
        code = int(str(end.code))
    errors = capsys.readouterr().err
    assert code in (1, 2) and errors.count("\n") == 1 and message in errors, errors
    assert not (tmp_path / "stream").exists()


def test_a_stream_may_start_before_anything_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    assert watch(inbox, stream) == 1
    assert capsys.readouterr().err.startswith("error: --input must be a folder that exists, where batches arrive.")
    assert not stream.exists()
    inbox.mkdir()
    for _ in range(2):
        assert watch(inbox, stream) == 0
        assert capsys.readouterr().out == f"nothing was made: {stream} has no snapshot yet\n"
    drop(inbox, "a")
    assert watch(inbox, stream) == 0
    assert snapshot_numbers(Place(stream)) == [0]


def test_a_relative_input_is_found_again_from_another_folder(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_inbox", lambda job, stream, config: SimpleInbox(Path(job.input), config))
    flags = ["watch", "--source", "svhn", "--input", "inbox", "--output", "stream", "--once", "--settle", "0"]
    assert main("beam_jobs", "", COMMANDS, flags) == 0
    assert str(inbox / "a") in (tmp_path / "stream" / "log" / "00000000.json").read_text()


def test_a_stream_in_a_bucket_is_that_of_a_folder(
    inbox: Path, tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = Place(f"{bucket.address}/stream")
    assert watch(inbox, tmp_path / "stream") == 0
    assert watch(inbox, stream) == 0  # type: ignore[arg-type]
    names = set(digests(tmp_path / "stream"))
    assert {name for name in stream.walk() if name != "status.json"} == names
    for name in names:
        assert (stream / name).read_bytes() == (tmp_path / "stream" / name).read_bytes(), name
    drop(inbox, "d")
    assert watch(inbox, stream) == 0  # type: ignore[arg-type]
    assert snapshot_numbers(stream) == [0, 1, 2]
    assert len(tfrecords.open(str(stream), "train")) == load_manifest(stream).splits["train"].examples


def test_batches_of_a_folder_are_made_archived_and_refused(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream, done = tmp_path / "stream", tmp_path / "done"
    drop(inbox, "cut", missing=1)
    drop(inbox, "marked", missing=1)
    (inbox / "marked" / "_SUCCESS").touch()
    flags = ["--source", "svhn", "--input", str(inbox), "--output", str(stream), "--once", "--poll", "0.1"]
    flags += ["--after", f"archive:{done}", "--compact", "off"]
    assert main("beam_jobs", "", COMMANDS, ["watch", *flags, "--settle", "0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("snapshot 0: 4 batches, 12 pictures (1 rejected: 1 missing_picture), 51 examples, ")
    assert lines[1] == "1 batch is not complete yet, and waits for the next call"
    assert sorted(path.name for path in done.iterdir()) == ["a", "b", "c", "marked"]
    shutil.copytree(done / "a", inbox / "copy")
    assert main("beam_jobs", "", COMMANDS, ["watch", *flags, "--settle", "0.2", "--patience", "0.3"]) == 0
    errors = capsys.readouterr().err
    assert "batch copy refused: duplicate" in errors and "batch cut refused: incomplete" in errors
    assert snapshot_numbers(Place(stream)) == [0]


def _die_at_write(inbox: Path, stream: str, operation: int) -> int:
    """Watches, and kills this process before its n-th writing of an object, or right after."""
    from tfrecords.files import remote_write

    left = operation

    def count(write: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            done = write(*arguments)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return counted

    for name in ("write", "create", "delete", "delete_folder"):
        setattr(remote_write, name, count(getattr(remote_write, name)))
    return watch(inbox, stream)  # type: ignore[arg-type]


def test_killed_at_any_write_to_a_bucket_the_same_command_makes_the_same_objects(
    inbox: Path, tmp_path: Path, bucket: Bucket
) -> None:
    stream = Place(f"{bucket.address}/stream")
    codes = [Forked(_die_at_write, inbox, str(stream), at).wait()[0] for at in (3, 9, 16, 27, 33)]
    assert codes.count(-signal.SIGKILL) >= 3
    assert watch(inbox, stream) == 0  # type: ignore[arg-type]
    assert watch(inbox, tmp_path / "stream") == 0
    names = set(digests(tmp_path / "stream"))
    assert {name for name in stream.walk() if name != "status.json"} == names
    for name in names:
        assert (stream / name).read_bytes() == (tmp_path / "stream" / name).read_bytes(), name


def test_a_stream_in_a_bucket_is_claimed(
    inbox: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claim, "_POLL_S", 0.1)
    monkeypatch.setattr(claim, "_LEASE_S", 1.0)
    stream = Place(f"{bucket.address}/stream")
    other = claim.Claim("another", "somebody@elsewhere", "another machine", 1)
    assert (stream / CLAIM).create(other.to_json())
    ended = threading.Event()

    def renew() -> None:
        renewals = 0
        while not ended.wait(0.1):
            renewals += 1
            (stream / CLAIM).write([replace(other, renewals=renewals).to_json()])

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        assert watch(inbox, stream) == 1  # type: ignore[arg-type]
    finally:
        ended.set()
        thread.join()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: somebody@elsewhere (process 1) is writing to") and str(stream) in last
    assert sorted(stream.walk()) == []
    assert watch(inbox, stream) == 0  # type: ignore[arg-type]
    assert not (stream / CLAIM).exists()


def _watch_on_beam(inbox: Path, stream: Path) -> int:
    return watch(inbox, stream, "--runner", "apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner")


def test_a_runner_of_beam_makes_the_same_bytes(inbox: Path, tmp_path: Path) -> None:
    code, _, errors = Forked(_watch_on_beam, inbox, tmp_path / "beam").wait()
    assert code == 0, errors
    assert watch(inbox, tmp_path / "bare") == 0
    assert digests(tmp_path / "beam") == digests(tmp_path / "bare")


def _watch_and_print(inbox: Path, stream: Path) -> int:
    return watch(inbox, stream, "--workers", "2", "--pictures", "400", "--jitters", "3")


def test_a_generation_of_a_moment_shows_no_progress(tmp_path: Path) -> None:
    drop(tmp_path / "inbox", "a", 40)
    start = time.monotonic()
    code, output, errors = Forked(_watch_and_print, tmp_path / "inbox", tmp_path / "stream").wait()
    assert code == 0 and "snapshot 0: 1 batch, 40 pictures, " in output
    assert errors == "" or time.monotonic() - start > 5
    assert max(keys(tmp_path / "stream").values()) == 3


@pytest.mark.parametrize(
    ("input", "output", "after", "message"),
    [
        ("x", "x", "keep", "must be apart"),
        ("x", "x/stream", "keep", "must be apart"),
        ("x/stream/spool", "x/stream", "keep", "must be apart"),
        ("link", "x/stream", "keep", "must be apart"),
        ("lines://x/stream/spool", "x/stream", "keep", "must be apart"),
        ("x", "stream", "archive:stream/done", "The archive of --after must be outside of --output."),
        ("x", "stream", "archive:link/done", "The archive must be outside of"),
    ],
)
def test_a_stream_its_inbox_and_the_archive_are_apart(
    input: str,
    output: str,
    after: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "x/stream/spool").mkdir(parents=True)
    (tmp_path / "link").symlink_to("x")
    monkeypatch.chdir(tmp_path)
    flags = ["--source", "table", "--max-length", "3", "--input", input, "--output", output, "--after", after, "--once"]
    assert main("beam_jobs", "", COMMANDS, ["watch", *flags]) == 1
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def _fill_disk_at(inbox: Path, stream: Path, operation: int) -> int:
    """Watches on a disk that is full from the n-th file on that is written below the stream."""
    left = operation

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "open" and str(stream) in str(arguments[0]) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            left -= 1
            if left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    sys.addaudithook(count)
    return watch(inbox, stream)


def test_a_full_disk_at_any_file_is_one_line_and_with_space_the_same_command_resumes(
    inbox: Path, tmp_path: Path
) -> None:
    stream = tmp_path / "stream"
    assert watch(inbox, tmp_path / "undisturbed") == 0
    failed = 0
    for operation in (1, 5, 13, 24):
        code, _, errors = Forked(_fill_disk_at, inbox, stream, operation).wait()
        failed += code
        assert code == 0 or (code == 1 and errors.splitlines()[-1].startswith("error: ")), errors
        assert "Traceback" not in errors
    assert failed >= 3
    assert watch(inbox, stream) == 0
    assert digests(stream) == digests(tmp_path / "undisturbed")


def _watch_without_lock(inbox: Path, stream: Path) -> int:
    with mock.patch("beam_jobs.file_lock.FileLock.acquire", side_effect=NotImplementedError):
        return watch(inbox, stream)


def test_two_watchers_where_nothing_can_be_locked_make_one_stream(tmp_path: Path) -> None:
    inbox, stream = tmp_path / "inbox", tmp_path / "stream"
    for name in "abcdefghij":
        drop(inbox, name)
    both = [Forked(_watch_without_lock, inbox, stream) for _ in range(2)]
    for code, _, errors in [each.wait() for each in both]:
        # The one that finds the other one's files ends with a line; its next start finds all as it should be.
        assert (code, errors.count("error: ")) in ((0, 0), (1, 1)) and "Traceback" not in errors, errors
    assert watch(inbox, stream) == 0
    assert keys(stream) == Counter(f"{name}/{index}.png" for name in "abcdefghij" for index in (1, 2, 3))
    assert watch(inbox, tmp_path / "alone") == 0
    assert digests(stream) == digests(tmp_path / "alone")


def test_a_closed_output_ends_it_as_head_does_and_loses_nothing(inbox: Path, tmp_path: Path) -> None:
    flags = ["--source", "svhn", "--input", str(inbox), "--output", str(tmp_path / "stream")]
    command = [
        sys.executable,
        "-m",
        "beam_jobs",
        "watch",
        *flags,
        "--once",
        "--settle",
        "0",
        "--poll",
        "0.1",
        "--pictures",
        "3",
        "--jitters",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (141, b"")
    assert watch(inbox, tmp_path / "stream", "--jitters", "0") == 0
    assert sum(keys(tmp_path / "stream").values()) == 9
