"""The ways that are compared, each run in a process of its own.

    python -m benchmarks.prepare_ways WAY JOB RESULT

runs one: JOB holds the fields of `Job` as JSON, RESULT is the file that the seconds go to.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.prepare_job import Job, count_records

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class Way:
    """One way: what the table calls it, and `module:function`; `peer` where it gets fewer pictures."""

    title: str
    function: str
    peer: bool = False


WAYS = {
    "loop": Way("loop", "benchmarks.prepare_loops:loop"),
    "pillow": Way("loop, Pillow and protobuf", "benchmarks.prepare_loops:pillow"),
    "processes": Way("{workers} bare processes", "benchmarks.prepare_loops:processes"),
    "prepare": Way("prepare, in process", "benchmarks.prepare_ours:in_process"),
    "prepare-processes": Way("prepare, {workers} processes", "benchmarks.prepare_ours:with_processes"),
    "prepare-threads": Way("prepare, {workers} threads", "benchmarks.prepare_ours:with_threads"),
    "write-to-tfrecord": Way(
        "WriteToTFRecord, an image an element", "benchmarks.prepare_peers:write_to_tfrecord", peer=True
    ),
    "tfds": Way("TFDS builder on Beam", "benchmarks.prepare_tfds:builder", peer=True),
}


@dataclass(frozen=True)
class Measured:
    """What one run of a way took.

    Attributes:
      pictures: that were prepared.
      examples: records that stood in its folder afterwards.
      seconds: from when everything was imported to the end of the work.
      outside_s: what the process took besides: to start, import and exit.
      peak_mb: the most memory that the largest process had, 10^6 bytes; None where there is no /proc.
    """

    pictures: int
    examples: int
    seconds: float
    outside_s: float
    peak_mb: float | None

    @property
    def per_s(self) -> float:
        return self.pictures / self.seconds


def measure(name: str, job: Job, folder: Path) -> Measured:
    """Runs a way, counts what it wrote and deletes it.

    Args:
      name: one of `WAYS`.
      job: whose output must be in `folder`.
      folder: for its log and result.

    Raises:
      RuntimeError: it failed; the text is the last line that it said.
    """
    result, log = folder / "result.json", folder / "log.txt"
    os.sync()  # what an earlier way wrote must not be written to disk at this one's cost
    command = [sys.executable, "-m", "benchmarks.prepare_ways", name, json.dumps(asdict(job)), str(result)]
    start = time.perf_counter()
    try:
        code, peak = _watch(command, log)
        wall = time.perf_counter() - start
        if code:
            said = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise RuntimeError(said[-1])
        seconds = json.loads(result.read_text())
        examples = count_records(Path(job.output))
        return Measured(job.pictures, examples, seconds, wall - seconds, peak / 1e6 if peak else None)
    finally:
        shutil.rmtree(job.output, ignore_errors=True)


def _watch(command: list[str], log: Path) -> tuple[int, int]:
    """Runs a command; returns its exit code and the most memory that one of its processes had, bytes."""
    peak = 0
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=_ROOT) as process:
        try:
            while process.poll() is None:
                peak = max(peak, *map(_peak_bytes, _tree(process.pid)))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        except BaseException:
            process.terminate()
            raise
    return process.returncode, peak


def _tree(pid: int) -> list[int]:
    """Returns a process and all below it."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids.extend(map(int, children.read_text().split()))
            except OSError:
                continue  # the thread has ended
    return pids


def _peak_bytes(pid: int) -> int:
    """Returns the most memory that a process has had; the kernel keeps count, so looking seldom misses little."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def main() -> None:
    name, job, result = sys.argv[1:]
    module, function = WAYS[name].function.split(":")
    work = getattr(importlib.import_module(module), function)
    start = time.perf_counter()
    work(Job(**json.loads(job)))
    Path(result).write_text(json.dumps(time.perf_counter() - start))


if __name__ == "__main__":
    main()
