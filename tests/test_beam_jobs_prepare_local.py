"""A plan on the processors of this machine: the same bytes and lines as on Beam, and without Beam."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.job.pool import Pool
from beam_jobs.prepare import local
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.local import _Shard, choose_workers
from beam_jobs.prepare.plan import Plan
from beam_jobs.prepare.shard_work import ShardKey, Written
from beam_jobs.prepare.survey import Survey
from beam_jobs.prepare.tally import Distribution, Tally
from tests.forked import Forked
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.files.place import Place

ROOT = Path(__file__).parents[1]
WAYS = {"in process": ("--workers", "1"), "processes": ("--workers", "3"), "on Beam": ("--direct_num_workers", "1")}
OPTIONS = ("--on-leak", "drop", "--backgrounds", "0.5", "--validation-fraction", "0.2", "--examples-per-shard", "60")
PLAN = Plan(PrepareConfig(), (), {"train": 5, "test": 1}, Place("records"), "1", Survey(5, {"train": 1999}))


def prepare(source: Path, output: Path, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *OPTIONS, *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments, "--max-dead-fraction", "0.3"])


def _prepare_forked(source: Path, output: Path, *options: str) -> int:
    """Runs prepare in a process that has imported Beam and used none of it, so that it forks as any other."""
    sys.modules.pop("grpc", None)
    return prepare(source, output, *options)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def faulty(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of which one is missing, one is no picture, and two are in train and in test."""
    source = Path(shutil.copytree(drawn, tmp_path_factory.mktemp("faulty") / "svhn"))
    (source / "train" / "1.png").unlink()
    (source / "train" / "2.png").write_bytes(b"nothing")
    for number in (3, 4):
        shutil.copy(source / "test" / f"{number}.png", source / "train" / f"{number}.png")
    return source


@pytest.mark.slow
def test_all_ways_make_the_same_bytes_and_lines_of_leaks_backgrounds_and_rejected_pictures(
    faulty: Path, tmp_path: Path
) -> None:
    found = {}
    for way, options in WAYS.items():
        code, output, errors = Forked(_prepare_forked, faulty, tmp_path / way, *options).wait()
        assert code == 0 and "prepare: 100 %, 80 of 80 pictures" in errors
        shown = output.replace(str(tmp_path / way), "OUT").splitlines()[:-1]
        lines = [re.sub(r"in \d.*|, decoded in .*", "", line) for line in shown]
        warnings = [line for line in errors.splitlines() if not line.startswith("prepare: ")]
        found[way] = digests(tmp_path / way), lines, warnings
    assert found["in process"] == found["processes"] == found["on Beam"]
    letters = Manifest.load(tmp_path / "processes").dead_letters
    assert letters["leak"] == 2 and letters["missing_picture"] == 1
    assert len(list((tmp_path / "processes").glob("*-train.tfrecord-*"))) > 3


def _stop_at_a_shard(source: Path, output: Path, left: int) -> int:
    """Runs prepare with processes, of which one is killed when it publishes a shard after `left` others."""

    def count(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and str(output / "svhn-") in str(arguments[1]):
            done = len(list((output / ".prepare" / "results").glob("*.arrow")))
            if done >= left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return _prepare_forked(source, output, "--workers", "2")


def test_a_worker_that_is_killed_ends_prepare_with_one_line_and_the_next_run_resumes(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = Forked(_stop_at_a_shard, faulty, tmp_path / "out", 2).wait()
    lines = [line for line in errors.splitlines() if not line.startswith("prepare: ")]
    reason = "it may have used more memory than there is; the same command resumes."
    assert (code, lines) == (1, [f"error: A worker process must not end before its work: {reason}"])
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert prepare(faulty, tmp_path / "out", "--workers", "1") == 0
    assert re.search(r"^[1-9]\d* shards were already complete, [1-9]", capsys.readouterr().out, re.MULTILINE)
    assert prepare(faulty, tmp_path / "undisturbed", "--workers", "1") == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_prepare_needs_neither_beam_nor_pandas_on_one_machine(drawn: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["apache_beam"] = None  # any import of it now fails
sys.modules["pyarrow.acero"] = sys.modules["pyarrow.dataset"] = None
from beam_jobs.__main__ import COMMANDS
from tfrecords.cli import main
options = ["--source", "svhn", "--input", {str(drawn / "test")!r}, "--output", {str(tmp_path / "out")!r}]
code = main("beam_jobs", "", COMMANDS, ["prepare", *options, "--jitters", "0"])
sys.exit(code or "pandas" in sys.modules)  # Arrow would import it, for 0.3 s
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)
    assert Manifest.load(tmp_path / "out").splits


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "0"], "--workers must be auto or 1..1024. Received: 0"),
        (["--workers", "two"], "--workers must be auto or 1..1024. Received: two"),
        (["--workers", "2", "--runner", "DirectRunner"], "leave out one. Received: --runner DirectRunner"),
        (["--workers", "auto", "--direct_num_workers", "2"], "leave out one. Received: --direct_num_workers 2"),
    ],
)
def test_workers_that_cannot_be_are_refused(
    drawn: Path, tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(drawn, tmp_path / "out", *options) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: --workers ") and error.endswith(said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pictures", "asked", "expected"),
    [(1999, None, 1), (2000, None, 4), (1999, 3, 3), (10, 100, 6), (100_000, 1, 1)],
)
def test_processes_are_as_many_as_processors_above_some_pictures_and_never_more_than_shards(
    pictures: int, asked: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "processors", lambda: 4)
    plan = replace(PLAN, survey=Survey(5, {"train": pictures}))
    assert choose_workers(plan, asked) == expected


class _Writer:
    """Stands for a ShardWriter: holds each shard until the next one comes."""

    def __init__(self, plan: Plan) -> None:
        self._held: list[Written] = []

    def write(self, key: ShardKey, lists: list[bytes], leaks: None) -> Iterator[Written]:
        yield from self.finish()
        self._held = [(key, Tally())]

    def finish(self) -> Iterator[Written]:
        yield from self._held
        self._held = []


class _Processes(Pool):
    """Stands for worker processes that take turns, except that one is early and takes two of the first last tasks."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self._writers: dict[int, Any] = dict.fromkeys(range(workers))
        self.given: list[int] = []
        self.rounds = 0

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        self.rounds += function is local._finish
        for index, task in enumerate(tasks):
            process = index % len(self._writers)
            if function is local._finish:
                process = max(0, index - 1) if self.rounds == 1 else len(self._writers) - 1 - index
            assert self.rounds < 9
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(local, "_writer", self._writers[process])
                patch.setattr(os, "getpid", lambda process=process: process)
                if function is local._write_one:
                    self.given.append(task[1].size)
                yield function(task)
                self._writers[process] = local._writer


@pytest.mark.parametrize(("count", "workers", "rounds"), [(1, 2, 1), (7, 2, 2), (40, 3, 2)])
def test_every_shard_is_made_once_the_largest_first_and_the_last_of_each_process_is_awaited(
    count: int, workers: int, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ShardWriter", _Writer)
    shards = [_Shard(("train", index), [bytes(index * 7 % 11)], None) for index in range(count)]
    pool = _Processes(workers)
    written = [key for key, _ in local._write(PLAN, shards, pool, workers)]
    assert sorted(written) == [shard.key for shard in shards]
    assert pool.given == sorted((shard.size for shard in shards), reverse=True)
    assert pool.rounds == rounds


def test_metrics_of_shards_add_up() -> None:
    add: Callable[[Tally], None] = (total := Tally()).add
    for sizes in ([3, 5], [], [1]):
        one = Tally()
        one.counters.update(shards_written=1)
        one.values["picture_bytes"] += sizes
        add(one)
    assert total.counters == {"shards_written": 3}
    assert total.distributions == {"picture_bytes": Distribution(3, 9, 1, 5)} and Distribution(3, 9, 1, 5).mean == 3
