"""The shards of a stream on a cluster: fakes of clusters that work, die, lie or are late; the job on a local runner."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beam_jobs.prepare.plan import Plan
from beam_jobs.watch.cluster import job as cluster_job
from beam_jobs.watch.cluster import make as cluster
from beam_jobs.watch.cluster import process as job_process
from beam_jobs.watch.cluster.job import Finder, write_shard
from beam_jobs.watch.cluster.make import ClusterJob, ClusterMake
from beam_jobs.watch.cluster.request import Request, Wanted, ask, withdraw
from beam_jobs.watch.generation import plan_generation
from beam_jobs.watch.stream import Stream
from tests import stream_batches as batches
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.flags import from_flags

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def inbox(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three batches of twenty pictures each."""
    folder, pictures = tmp_path_factory.mktemp("inbox"), batches.annotated(drawn)
    return [batches.drop(folder, f"b{i}", pictures[20 * i : 20 * (i + 1)]) for i in range(3)]


@pytest.fixture(scope="module")
def expected(inbox: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the generations as a watcher without a cluster makes them: one of two batches, and one of one."""
    stream = filled(tmp_path_factory.mktemp("expected"), inbox)
    batches.commit_all(stream, batches.make_here)
    return batches.digests(stream.place)


def filled(folder: Path, inbox: list[Path]) -> Stream:
    """Returns a new stream whose ledger has two entries, and no snapshot."""
    stream = batches.new_stream(folder / "stream")
    batches.accept(stream, *inbox[:2])
    batches.accept(stream, inbox[2])
    return stream


@pytest.fixture
def stream(tmp_path: Path, inbox: list[Path]) -> Stream:
    """A stream of two entries without a snapshot."""
    return filled(tmp_path, inbox)


@contextlib.contextmanager
def workers(stream: Stream, count: int = 1, write: Callable[..., Iterator[str]] = write_shard) -> Iterator[list[str]]:
    """Runs a fake cluster while the block runs: threads that do what the job's workers do; yields what they wrote."""
    ended, written, errors = threading.Event(), list[str](), list[BaseException]()

    def work() -> None:
        finder = Finder(stream.place)
        try:
            while not ended.wait(0.02):
                for task in finder.find():
                    written.extend(write(task, str(stream.place)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield written
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not errors, errors


def test_the_shards_of_a_cluster_are_those_of_this_machine(stream: Stream, expected: dict[str, str]) -> None:
    make = ClusterMake(stream.place, 60)
    with workers(stream) as written:
        batches.commit_all(stream, make)
    assert batches.digests(stream.place) == expected
    assert make.takeovers == 0
    assert sorted(written) == sorted(Path(name).name for name in expected if re.search(r"\.tfrecord-\d", name))


def test_a_job_that_is_doubled_changes_no_byte(stream: Stream, expected: dict[str, str]) -> None:
    with workers(stream, 3):
        batches.commit_all(stream, ClusterMake(stream.place, 60))
    assert batches.digests(stream.place) == expected


def test_a_cluster_that_stops_working_delays_by_at_most_takeover_plus_local_making_time(
    stream: Stream,
    inbox: list[Path],
    expected: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left = [1]  # the cluster writes one shard, and dies

    def dying(task: cluster_job.Task, place: str) -> Iterator[str]:
        if left:
            left.pop()
            yield from write_shard(task, place)

    make = ClusterMake(stream.place, 1.0)
    with workers(stream, 1, dying) as written:
        start = time.monotonic()
        batches.commit_all(stream, make)
        seconds = time.monotonic() - start
    local = filled(tmp_path / "local", inbox)
    start = time.monotonic()
    batches.commit_all(local, batches.make_here)
    making = time.monotonic() - start
    assert batches.digests(stream.place) == expected
    assert len(written) == 1 and make.takeovers == 2
    # Of the second generation, the cluster that was late once gets an eighth of the time.
    assert 1.0 + 1.0 / 8 < seconds < 1.0 + 1.0 / 8 + 3 * making + 2.0, (seconds, making)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert re.fullmatch(
        r"warning: no new shard from the cluster for 1 s: this process makes \d of \d shards of 00000000", lines[0]
    )
    assert "for 0.125 s" in lines[1] and len(lines) == 2


def test_a_cluster_that_delivers_again_gets_the_full_time_again(stream: Stream) -> None:
    make = ClusterMake(stream.place, 0.4)
    first, second = [plan_generation(stream, entry) for entry in batches.Ledger(stream.place).open]
    make(first)
    assert (make.takeovers, make._doubts) == (1, True)
    make._takeover_s = 60
    with workers(stream):
        make(second)
    assert (make.takeovers, make._doubts) == (1, False)


def test_a_coordinator_that_is_killed_while_it_waits_is_followed_by_one_that_keeps_the_shards(
    stream: Stream, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(make: ClusterMake, plan: Plan) -> bool:
        with workers(stream) as written:
            while len(written) < 2:
                time.sleep(0.02)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ClusterMake, "_wait", killed)
        patch.setattr(cluster, "withdraw", lambda *_: None)
        patch.setattr(cluster, "_delete_folder", lambda *_: None)
        with pytest.raises(Killed):
            batches.commit_all(stream, ClusterMake(stream.place, 60))
    # What it asked for stays, and its workers may still be there.
    assert Wanted.load(stream.place) is not None
    late = late_task(stream)
    make = ClusterMake(stream.place, 60)
    assert list(write_shard(late, str(stream.place))) == []
    with workers(stream) as written:
        batches.commit_all(stream, make)
    assert batches.digests(stream.place) == expected
    assert make.takeovers == 0
    assert 0 < len(written) < sum(bool(re.search(r"\.tfrecord-\d", name)) for name in expected)


def late_task(stream: Stream) -> cluster_job.Task:
    wanted = Wanted.load(stream.place)
    assert wanted is not None
    split = next(iter(wanted.shards))
    return wanted.directory, wanted.run, split, 0


def test_a_worker_that_comes_late_writes_nothing_and_says_nothing(
    stream: Stream, expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tasks: list[cluster_job.Task] = []

    def remembering(task: cluster_job.Task, place: str) -> Iterator[str]:
        tasks.append(task)
        yield from write_shard(task, place)

    with workers(stream, 1, remembering):
        batches.commit_all(stream, ClusterMake(stream.place, 60))
    for task in tasks:
        assert list(write_shard(task, str(stream.place))) == []
    assert batches.digests(stream.place) == expected
    assert Wanted.load(stream.place) is None
    assert capsys.readouterr().err == ""


def test_a_worker_that_is_in_the_middle_when_the_coordinator_takes_over_cannot_replace_a_shard(
    stream: Stream, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    annotations = cluster_job._annotations

    def slow(*args: object) -> object:
        begun.set()
        go_on.wait(30)
        return annotations(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(cluster_job, "_annotations", slow)
        with workers(stream) as written:
            make = ClusterMake(stream.place, 0.5)

            def after_begun(plan: Plan) -> None:
                make(plan)
                assert begun.wait(30)

            batches.commit_all(stream, after_begun)
            go_on.set()
    assert written == []
    assert batches.digests(stream.place) == expected


def test_a_shard_that_is_not_what_its_worker_wrote_is_made_again(
    stream: Stream, expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def damaging(task: cluster_job.Task, place: str) -> Iterator[str]:
        for name in write_shard(task, place):
            if "-00000-of" in name:
                path = Path(place, task[0], name)
                path.write_bytes(path.read_bytes()[:-1] + b"?")
            yield name

    make = ClusterMake(stream.place, 60)
    # The damage comes after the result, as that of a second worker does: wait until it is there.
    wait = ClusterMake._wait
    with workers(stream, 1, damaging), pytest.MonkeyPatch.context() as patch:

        def waiting(make: ClusterMake, plan: Plan) -> bool:
            came = wait(make, plan)
            time.sleep(0.3)
            return came

        patch.setattr(ClusterMake, "_wait", waiting)
        batches.commit_all(stream, make)
    assert batches.digests(stream.place) == expected
    assert make.takeovers == 2
    assert "is not what its worker has written: this process makes it again" in capsys.readouterr().err


def test_what_keeps_a_worker_from_its_work_is_printed_once_and_never_raised(
    stream: Stream, expected: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Request, "plan", lambda self, stream, name, plan=Request.plan: replace(plan(self, stream, name), versions={})
    )
    make = ClusterMake(stream.place, 0.5)
    with workers(stream, 2):
        batches.commit_all(stream, make)
    assert batches.digests(stream.place) == expected
    lines = [line for line in capsys.readouterr().err.splitlines() if "the cluster: " in line]
    assert len(lines) == 1 and re.match(r"warning: the cluster: worker \S+ has .*numpy", lines[0]), lines


def test_a_worker_that_does_not_see_a_batch_says_so_instead_of_rejecting_its_pictures(
    stream: Stream, inbox: list[Path], expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def blind(task: cluster_job.Task, place: str) -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("beam_jobs.job.mounts.os.access", lambda path, mode: str(inbox[0]) not in path)
            patch.setattr("beam_jobs.job.mounts._seen", set())
            yield from write_shard(task, place)

    with workers(stream, 1, blind):
        batches.commit_all(stream, ClusterMake(stream.place, 0.5))
    assert batches.digests(stream.place) == expected
    assert f"does not see {inbox[0]}" in capsys.readouterr().err


def test_a_shard_is_a_task_once_and_again_after_ten_seconds_then_twenty(stream: Stream, tmp_path: Path) -> None:
    now = [0.0]
    finder = Finder(stream.place, lambda: now[0])
    assert finder.find() == []
    (entry, _) = batches.Ledger(stream.place).open
    plan = plan_generation(stream, entry)
    ask(stream.place, plan, "run1")
    tasks = finder.find()
    assert [task[2:] for task in tasks] == plan.shard_keys
    assert {task[:2] for task in tasks} == {("generations/00000000", "run1")}
    counts = []
    for second in range(1, 45):
        now[0] = second
        if found := finder.find():
            counts.append((second, len(found)))
    assert counts == [(10, len(tasks)), (30, len(tasks))]
    ask(stream.place, plan, "run2")
    assert {task[1] for task in finder.find()} == {"run2"}
    withdraw(stream.place, plan.output)
    now[0] = 1000.0
    assert finder.find() == []


def test_a_damaged_request_is_an_error_of_one_line_that_ends_no_job(stream: Stream) -> None:
    (stream.place / "request.json").write([b"{"])
    with pytest.raises(UserError, match=r"request\.json"):
        Finder(stream.place).find()
    assert list(cluster_job._find(None, str(stream.place), "job")) == []


def test_the_job_writes_what_is_wanted_on_a_local_runner(stream: Stream, expected: dict[str, str]) -> None:
    import apache_beam as beam

    from beam_jobs.job.runner import make_pipeline, parse_beam_options

    def run() -> None:
        while not stop.wait(0.05):
            with make_pipeline(parse_beam_options([], "watch-job")) as pipeline:
                _ = pipeline | beam.Create([0, 1]) | cluster_job.MakeShards(stream.place)

    stop = threading.Event()
    job = threading.Thread(target=run)
    job.start()
    try:
        make = ClusterMake(stream.place, 60)
        batches.commit_all(stream, make)
    finally:
        stop.set()
        job.join()
    assert batches.digests(stream.place) == expected
    assert make.takeovers == 0


def test_batches_and_streams_may_be_in_a_store(
    bucket: Bucket, inbox: list[Path], expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in inbox:
        bucket.put_folder(path, f"inbox/{path.name}")
    arrived = [Place(bucket.address) / f"inbox/{path.name}" for path in inbox]
    stream = batches.new_stream(Place(bucket.address) / "stream")
    batches.accept(stream, *arrived[:2])
    batches.accept(stream, arrived[2])
    make = ClusterMake(stream.place, 60)
    with workers(stream, 2):
        batches.commit_all(stream, make)
    assert make.takeovers == 0
    assert batches.digests(stream.place) == expected
    assert Wanted.load(stream.place) is None
    assert capsys.readouterr().err == ""


def test_a_cluster_that_dies_over_a_store_is_taken_over(
    bucket: Bucket, inbox: list[Path], expected: dict[str, str]
) -> None:
    left = [1]

    def dying(task: cluster_job.Task, place: str) -> Iterator[str]:
        if left:
            left.pop()
            yield from write_shard(task, place)

    stream = batches.new_stream(Place(bucket.address) / "stream")
    batches.accept(stream, *inbox[:2])
    batches.accept(stream, inbox[2])
    make = ClusterMake(stream.place, 1.0)
    with workers(stream, 1, dying):
        batches.commit_all(stream, make)
    assert make.takeovers == 2
    assert batches.digests(stream.place) == expected


def test_what_the_job_polls_stays_small_for_a_request_of_four_thousand_batches(stream: Stream, tmp_path: Path) -> None:
    (entry, _) = batches.Ledger(stream.place).open
    plan = plan_generation(stream, entry)
    subset = replace(plan.subsets[0], entries=1)
    many = replace(plan, subsets=tuple(replace(subset, name=f"batch{i:04}") for i in range(4000)))
    ask(stream.place, many, "run")
    assert Wanted.load(stream.place) is not None
    assert (stream.place / "request.json").path.stat().st_size < 300
    request = Request.load(stream.place, "generations/00000000")
    assert request is not None and request.subsets == list(many.subsets)


def test_takeover_must_be_a_time() -> None:
    assert from_flags(ClusterJob, {}) == ClusterJob(cluster=False, takeover=120.0)
    for wrong in (-1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match=r"--takeover must be a number of seconds, 0 or more\. Received: "):
            ClusterJob(takeover=wrong)


PROGRAM = """
import sys, time
from pathlib import Path
from beam_jobs.watch.cluster import process as job_process
from tfrecords.files.place import Place

job_process.JobProcess.__init__.__globals__["_FIRST_PAUSE_S"] = 0.1
with job_process.JobProcess(Place(sys.argv[1]), sys.argv[2:]) as job:
    while True:
        Path(sys.argv[1], "pid").write_text(str(job.pid))
        time.sleep(0.02)
        job.check()
"""


def fake_job(folder: Path, body: str) -> dict[str, str]:
    """Writes a stand-in of a few lines for `watch-job`, and returns the environment that finds it."""
    (folder / "sitecustomize.py").write_text(
        "import sys\nif 'watch-job' in sys.argv or 'watch-job' in sys.orig_argv:\n"
        + "".join(f"    {line}\n" for line in body.splitlines())
    )
    return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}


def await_file(path: Path, seconds: float = 20) -> str:
    end = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, path
        time.sleep(0.02)
    return path.read_text()


def test_a_job_process_that_is_killed_is_started_again_and_ends_with_the_coordinator(tmp_path: Path) -> None:
    body = (
        "import os, sys\n"
        "from pathlib import Path\n"
        f"Path({str(tmp_path)!r}, f'started-{{os.getpid()}}').touch()\n"
        "sys.stdin.buffer.read()\n"
        f"Path({str(tmp_path)!r}, f'ended-{{os.getpid()}}').write_text('x')\n"
        "os._exit(143)"
    )
    words = [sys.executable, "-c", PROGRAM, str(tmp_path), "--runner", "PrismRunner"]
    environment = fake_job(tmp_path, body)
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            (first,) = await_started(tmp_path, 1)
            os.kill(first, signal.SIGKILL)
            second = (set(await_started(tmp_path, 2)) - {first}).pop()
            process.send_signal(signal.SIGINT)
            process.wait(20)
            await_file(tmp_path / f"ended-{second}")
        finally:
            process.kill()
        assert process.stderr is not None
        assert "the process of the job has ended (exit code -9): started again in 0.1 s" in process.stderr.read()


def await_started(folder: Path, count: int) -> list[int]:
    end = time.monotonic() + 20
    while len(found := list(folder.glob("started-*"))) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    return [int(path.name.partition("-")[2]) for path in found]


def test_a_job_that_hangs_is_started_again_at_a_takeover_but_not_while_it_starts(stream: Stream) -> None:
    class Job(job_process.JobProcess):
        restarts = 0

        def restart(self) -> None:
            self.restarts += 1

    now = [0.0]

    def clock() -> float:
        now[0] += 5
        return now[0]

    job = Job(stream.place, [])
    make = ClusterMake(stream.place, 20, job, clock=clock)
    first, second = batches.Ledger(stream.place).open
    make(plan_generation(stream, first))
    assert (make.takeovers, job.restarts) == (1, 0)  # it may still be starting
    now[0] = 100
    make(plan_generation(stream, second))
    assert (make.takeovers, job.restarts) == (2, 1)
    third = batches.accept(stream, Path(second.batches[0].subsets[0].path))
    make(plan_generation(stream, third))
    assert (make.takeovers, job.restarts) == (3, 1)


def test_a_job_process_that_hangs_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = f"Path({str(tmp_path)!r}, f'started-{{os.getpid()}}').touch()"
    body = f"import os\nfrom pathlib import Path\n{started}\nos.read(0, 1)\nos._exit(143)"
    for name, value in fake_job(tmp_path, body).items():
        monkeypatch.setenv(name, value)
    with job_process.JobProcess(Place(tmp_path), []) as job:
        (first,) = await_started(tmp_path, 1)
        job.restart()
        assert first in await_started(tmp_path, 2)
        assert job.pid != first


def test_a_job_that_refuses_its_options_ends_the_coordinator(stream: Stream) -> None:
    with job_process.JobProcess(stream.place, ["--runner", "NoSuchRunner"]) as job:
        end = time.monotonic() + 30
        while job._refused is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        make = ClusterMake(stream.place, 60, job)
        with pytest.raises(UserError, match=r"The job must start: .* Received: exit code 1"):
            batches.commit_all(stream, make)
    assert Wanted.load(stream.place) is None


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "give --runner"),
        (["--runner", "DirectRunner"], "a runner with workers of its own"),
        (["--runner", "PrismRunner", "--nothing", "1"], "--nothing"),
    ],
)
def test_watch_job_refuses_what_cannot_run_for_ever(
    options: list[str], line: str, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    from beam_jobs.__main__ import COMMANDS
    from tfrecords.cli import main

    assert main("beam_jobs", "", COMMANDS, ["watch-job", "--stream", str(stream.place), *options]) in (1, 2)
    assert line in capsys.readouterr().err


def test_requests_are_plain_json(stream: Stream) -> None:
    (entry, _) = batches.Ledger(stream.place).open
    ask(stream.place, plan_generation(stream, entry), "run")
    wanted = json.loads((stream.place / "request.json").read_bytes())
    assert set(wanted) == {"directory", "run", "shards"} and wanted["directory"] == "generations/00000000"
