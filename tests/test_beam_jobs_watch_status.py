"""status.json, the command that prints it, and the process that serves it to Prometheus."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.watch import metrics
from beam_jobs.watch.status import ENDED, IDLE, Board, Latency, Status
from tfrecords.cli import main
from tfrecords.dataset.snapshots import Part, Snapshot, Total
from tfrecords.errors import UserError
from tfrecords.files.place import Place

SNAPSHOT = Snapshot(
    42,
    [Part("generations/00000042", "0" * 64)],
    {"train": Total(90, 450), "test": Total(8, 8)},
    {"too_long": 2},
    batches=5,
)


def show(folder: Path, state: str = IDLE) -> Status:
    board = Board(Place(folder))
    board.add([1.0, 2.0, 3.0, 40.0], 98, 0.5)
    board.show(state, SNAPSHOT, Counter(duplicate=3), 7, 14.26)
    found = Status.load(Place(folder))
    assert found
    return found


def test_it_says_what_the_newest_snapshot_holds_and_what_waits(tmp_path: Path) -> None:
    found = show(tmp_path)
    assert (found.snapshot, found.batches, found.pictures, found.examples) == (42, 5, 98, 458)
    assert (found.dead_letters, found.refused) == ({"too_long": 2}, {"duplicate": 3})
    assert (found.pending, found.oldest_pending_s, found.pictures_per_s) == (7, 14.3, 196.0)
    assert found.latency_s == Latency(3.0, 40.0)
    assert (found.pid, found.host) == (os.getpid(), socket.gethostname())


def test_an_idle_watcher_writes_once_a_second_and_a_change_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, times = [100.0], list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    board = Board(Place(tmp_path))
    write = Place.write

    def note(place: Place, chunks: Iterable[bytes]) -> None:
        times.append(now[0])
        write(place, chunks)

    monkeypatch.setattr(Place, "write", note)
    for step, pending in ((0.0, 0), (0.3, 0), (0.3, 0), (0.5, 0), (0.2, 1), (0.1, 1)):
        now[0] += step
        board.show(IDLE, None, Counter(), pending, now[0])
    assert times == pytest.approx([100.0, 101.1, 101.3])


def test_a_status_that_cannot_be_written_does_not_stop_the_stream(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Board(Place(tmp_path / "file")).show(IDLE, SNAPSHOT, Counter())


def run(*arguments: str) -> int:
    return main("beam_jobs", "", COMMANDS, ["status", *arguments])


def test_the_command_prints_it_and_says_whether_a_watcher_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(tmp_path)
    assert run(str(tmp_path)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "snapshot   42: 5 batches, 98 pictures, 458 examples",
        "rejected   2 too_long",
        "refused    3 duplicate",
        "waiting    7 batches, the oldest for 14 s",
        "speed      196 pictures/s",
        "latency    median 3 s, 95 % below 40 s",
        f"watcher    process {os.getpid()} on {socket.gethostname()}, idle",
    ]
    show(tmp_path, ENDED)
    assert run(str(tmp_path)) == 0
    assert "watcher    none runs: the last one has ended" in capsys.readouterr().out
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    content = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps({**content, "pid": ended.pid, "state": IDLE}))
    assert run(str(tmp_path)) == 0
    assert f"none runs: process {ended.pid} on {socket.gethostname()} is gone" in capsys.readouterr().out


def test_the_command_refuses_what_is_no_stream_and_a_damaged_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tmp_path)) == 1
    assert "must be a stream: it has no stream.json" in capsys.readouterr().err
    (tmp_path / "stream.json").write_text("{}")
    assert run(str(tmp_path)) == 0
    (tmp_path / "status.json").write_text("{")
    assert run(str(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 20
    while True:
        try:
            with opener.open(url, timeout=10) as answer:
                assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_prometheus_reads_it_from_a_process_that_ends_with_the_watcher(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = metrics.serve(Place(tmp_path), port)
    assert server.stdin
    url = f"http://127.0.0.1:{port}"
    try:
        assert _get(f"{url}/metrics") == ""
        show(tmp_path)
        text = _get(f"{url}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            _get(f"{url}/other")
        with pytest.raises(UserError, match="--metrics-port must be a free port"):
            metrics.serve(Place(tmp_path), port)
    finally:
        server.stdin.close()  # as the end of the watcher does
    assert server.wait(20) == 0
    line = re.compile(r'(# (HELP|TYPE) )?streetdigits_watch_[a-z0-9_]+(\{[a-z]+="[^"]*"\})?( .+)')
    assert text.endswith("\n") and all(line.fullmatch(each) for each in text.splitlines())
    assert "streetdigits_watch_snapshot 42\n" in text
    assert 'streetdigits_watch_refused_batches{reason="duplicate"} 3\n' in text
    assert 'streetdigits_watch_latency_seconds{quantile="0.95"} 40.0\n' in text
