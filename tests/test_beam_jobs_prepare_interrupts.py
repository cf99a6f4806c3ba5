"""Ctrl-C and SIGTERM while prepare works: one line, no process left, and the same bytes after the next run."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.job import worker
from tests.forked import Forked
from tfrecords.cli import main
from tfrecords.interrupts import SIGNALS

ROOT = Path(__file__).parents[1]
LINES = {
    signal.SIGINT: "stopped: interrupted; the same command resumes",
    signal.SIGTERM: "stopped: terminated; the same command resumes",
}
OPTIONS = ["--shards", "4", "--validation-fraction", "0.2"]
TWO_PROCESSES = ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]


def prepare(source: Path, output: Path, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *OPTIONS, *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _signal_at(source: Path, output: Path, operation: int, number: int) -> int:
    """Runs prepare, and sends the process a signal before its n-th operation on a file below the output."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background processes without
    left = operation

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.mkdir", "os.remove") and str(output) in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    sys.addaudithook(count)
    return prepare(source, output)


def test_interrupted_at_any_file_operation_it_prints_one_line_and_resumes(drawn: Path, tmp_path: Path) -> None:
    output, codes = tmp_path / "records", []
    for operation, number in ((2, signal.SIGTERM), (12, signal.SIGINT), (20, signal.SIGTERM), (28, signal.SIGINT)):
        code, _, errors = Forked(_signal_at, drawn, output, operation, number).wait()
        lines = [line for line in errors.splitlines() if not line.startswith("prepare: ")]
        assert (code, lines) == (128 + number, [LINES[number]])
        codes.append(code)
        assert not (output / "manifest.json").exists()
    assert prepare(drawn, output) == 0
    assert prepare(drawn, tmp_path / "undisturbed") == 0
    assert digests(output) == digests(tmp_path / "undisturbed")


def _processes_of(group: int) -> list[str]:
    """Returns the command lines of the processes of a group, but for those that have ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group and (line := (folder / "cmdline").read_bytes()):
                found.append(line.decode().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux lists processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("options", [["--workers", "2"], TWO_PROCESSES], ids=["workers", "Beam's processes"])
def test_worker_processes_end_with_their_launcher(
    options: list[str], number: signal.Signals, drawn: Path, tmp_path: Path
) -> None:
    # Long enough for a signal in the middle: 12,000 PNGs.
    slow = ["--shards", "4", "--jitters", "200", "--encoding", "png"]
    arguments = ["--source", "svhn", "--input", str(drawn), "--output", str(tmp_path / "out"), *options, *slow]
    command = [sys.executable, "-m", "beam_jobs", "prepare", *arguments]
    # A group of its own, all of which gets the signal of a terminal.
    code = f"import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); os.execv({command[0]!r}, "
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}{command!r})"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        # Forked workers have the command line of their launcher.
        name, count = (worker.__name__, 2) if options == TWO_PROCESSES else ("beam_jobs", 3)
        while sum(name in line for line in _processes_of(process.pid)) < count:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
        _, errors = process.communicate(timeout=30)
    while left := _processes_of(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    lines = [line for line in errors.splitlines() if not line.startswith("prepare: ")]
    assert lines == ([] if number == signal.SIGKILL else [LINES[number]])
    assert not (tmp_path / "out" / "manifest.json").exists()


def _lose_a_worker(status: int) -> int:
    """Waits for a child process as Beam's runner does, but runs none of Beam's worker."""
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    from beam_jobs.job.runner import ending_with_workers

    info = SimpleNamespace(provision_info=beam_provision_api_pb2.ProvisionInfo())
    handler: Any = object.__new__(worker_handlers.SubprocessSdkWorkerHandler)
    handler._worker_command_line = f"kill -{status} $$".encode() if status else b"true"
    handler.state, handler.provision_info, handler.worker_id = None, info, "one"
    handler.control_address = "localhost:1"
    with ending_with_workers("the same command resumes"):
        handler.start_worker()
        handler.stop_worker()
        time.sleep(0.5 if status else 0)
    return 0


def test_it_ends_with_one_line_when_a_worker_process_is_killed() -> None:
    code, _, errors = Forked(_lose_a_worker, signal.SIGKILL).wait()
    assert code == 1 and errors.count("\n") == 1
    assert errors.startswith("error: A worker process must not end before its work") and errors.endswith(" code -9\n")
    assert Forked(_lose_a_worker, 0).wait() == (0, "", "")


def _stop_a_job(stops: bool) -> int:
    """Ends as `prepare` does when Ctrl-C has stopped an engine's job; then a connection breaks in a thread of Beam.

    Args:
      stops: Whether the job was stopped; otherwise it has ended by itself.
    """
    from beam_jobs.job.runner import ending_with_workers
    from beam_jobs.job.submit import _quiet

    lost: dict[str, Any] = {}
    exec(compile("def work():\n    raise OSError('Socket closed')", "apache_beam/worker.py", "exec"), lost)
    with contextlib.suppress(KeyboardInterrupt), ending_with_workers("the same command resumes"), _quiet(False):
        if stops:
            raise KeyboardInterrupt
    thread = threading.Thread(target=lost["work"])
    thread.start()
    thread.join()
    return 0


def test_beams_threads_stay_silent_after_a_stopped_job_alone() -> None:
    assert Forked(_stop_a_job, True).wait() == (0, "", "")
    assert "OSError: Socket closed" in Forked(_stop_a_job, False).wait()[2]


def test_a_worker_starts_with_the_signals_of_a_terminal_ignored_and_ends_when_its_launcher_is_gone() -> None:
    # The launcher's command with another module, so that the worker needs none of Beam.
    code = """
import os, subprocess, sys
from beam_jobs.job import worker
command = worker.command().replace("-m " + worker.__name__, "-c " + repr(sys.argv[1]))
subprocess.Popen(command, shell=True)
sys.stdin.read()
"""
    work = """
import signal, sys
from beam_jobs.job import worker
ignored = [signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGTERM)]
print(ignored, flush=True)
worker.end_with(int(sys.argv[1]))
""".replace("\n", "; ").strip("; ")
    with subprocess.Popen(
        [sys.executable, "-c", code, work], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "[True, True]\n"
        process.kill()
        # The worker holds the other end until it ends.
        assert process.stdout.read() == ""
    assert SIGNALS == (signal.SIGINT, signal.SIGTERM)
