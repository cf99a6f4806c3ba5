"""The ways that are compared, each run in a process of its own.

    python -m benchmarks.prepare.ways WAY JOB RESULT

runs one: JOB holds the fields of `Job` as JSON, RESULT is the file that the seconds go to.
"""

import importlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.own_process import answer, run
from benchmarks.prepare.job import Job, count_records


@dataclass(frozen=True)
class Way:
    """One way: what the table calls it, and `module:function`; `peer` where it gets fewer pictures."""

    title: str
    function: str
    peer: bool = False


WAYS = {
    "loop": Way("loop", "benchmarks.prepare.loops:loop"),
    "pillow": Way("loop, Pillow and protobuf", "benchmarks.prepare.loops:pillow"),
    "processes": Way("{workers} bare processes", "benchmarks.prepare.loops:processes"),
    "prepare": Way("prepare, in process", "benchmarks.prepare.ours:in_process"),
    "prepare-processes": Way("prepare, {workers} processes", "benchmarks.prepare.ours:with_processes"),
    "prepare-threads": Way("prepare, {workers} threads", "benchmarks.prepare.ours:with_threads"),
    "write-to-tfrecord": Way(
        "WriteToTFRecord, an image an element", "benchmarks.prepare.peers:write_to_tfrecord", peer=True
    ),
    "tfds": Way("TFDS builder on Beam", "benchmarks.prepare.tfds:builder", peer=True),
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
    os.sync()  # what an earlier way wrote must not be written to disk at this one's cost
    try:
        seconds, wall, peak = run("benchmarks.prepare.ways", name, job, folder)
        examples = count_records(Path(job.output))
        return Measured(job.pictures, examples, seconds, wall - seconds, peak / 1e6 if peak else None)
    finally:
        shutil.rmtree(job.output, ignore_errors=True)


def _work(name: str, job: dict[str, Any]) -> float:
    module, function = WAYS[name].function.split(":")
    work = getattr(importlib.import_module(module), function)
    start = time.perf_counter()
    work(Job(**job))
    return time.perf_counter() - start


def main() -> None:
    answer(_work)


if __name__ == "__main__":
    main()
