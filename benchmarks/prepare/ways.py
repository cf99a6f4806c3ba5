"""The ways of preparing that are compared; each runs in its own process.

    python -m benchmarks.prepare.ways WAY JOB RESULT

runs one: JOB holds the fields of `Job` as JSON, RESULT is the file for the seconds.
"""

import importlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.own_process import run_way, serve_way
from benchmarks.prepare.job import Job, count_records


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
      title: Name in the table.
      function: `module:function`, called with a `Job`.
      peer: Whether it is another pipeline than prepare, which gets fewer pictures.
    """

    title: str
    function: str
    peer: bool = False


WAYS = {
    "loop": Way("loop", "benchmarks.prepare.loops:loop"),
    "pillow": Way("loop, Pillow and protobuf", "benchmarks.prepare.loops:pillow"),
    "processes": Way("{workers} bare processes", "benchmarks.prepare.loops:processes"),
    "lasting-processes": Way(
        "{workers} bare processes, SHA-256 and fsync", "benchmarks.prepare.loops:lasting_processes"
    ),
    "prepare": Way("prepare, 1 worker", "benchmarks.prepare.workers:in_process"),
    "prepare-workers": Way("prepare, {workers} workers", "benchmarks.prepare.workers:with_workers"),
    "beam": Way("prepare on Beam, in process", "benchmarks.prepare.pipelines:in_beam"),
    "beam-processes": Way("prepare on Beam, {workers} processes", "benchmarks.prepare.pipelines:with_processes"),
    "beam-threads": Way("prepare on Beam, {workers} threads", "benchmarks.prepare.pipelines:with_threads"),
    "write-to-tfrecord": Way(
        "WriteToTFRecord, one element per picture", "benchmarks.prepare.pipelines:write_to_tfrecord", peer=True
    ),
    "tfds": Way("TFDS builder on Beam", "benchmarks.prepare.tfds_builder:build", peer=True),
}


@dataclass(frozen=True)
class Measured:
    """Costs of one run of a way.

    Attributes:
      pictures: Number of prepared pictures.
      examples: Number of records in its folder afterwards.
      seconds: Time from the last import to the end of the work.
      outside_s: Time that the process took in addition, to start, import and exit.
      processor_s: Processor time of the process and its children in these seconds, user and system together.
      peak_mb: Peak memory of the largest process, 10^6 bytes; None without /proc.
    """

    pictures: int
    examples: int
    seconds: float
    outside_s: float
    processor_s: float
    peak_mb: float | None

    @property
    def per_s(self) -> float:
        """Pictures per second."""
        return self.pictures / self.seconds


def measure(name: str, job: Job, folder: Path) -> Measured:
    """Runs a way, counts its records and deletes them.

    Args:
      name: One of `WAYS`.
      job: Work, with an output in `folder`.
      folder: Folder for its log and result.

    Raises:
      RuntimeError: The way failed; the text is the last line of its output.
    """
    os.sync()  # or the disk would write the files of an earlier way at the cost of this one
    try:
        (seconds, processor), wall, peak = run_way("benchmarks.prepare.ways", name, job, folder)
        examples = count_records(Path(job.output))
        return Measured(job.pictures, examples, seconds, wall - seconds, processor, peak / 1e6 if peak else None)
    finally:
        shutil.rmtree(job.output, ignore_errors=True)


def _work(name: str, job: dict[str, Any]) -> tuple[float, float]:
    module, function = WAYS[name].function.split(":")
    work = getattr(importlib.import_module(module), function)
    start, used = time.perf_counter(), _processor_seconds()
    work(Job(**job))
    return time.perf_counter() - start, _processor_seconds() - used


def _processor_seconds() -> float:
    """Returns the processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Runs the way that the command line names."""
    serve_way(_work)


if __name__ == "__main__":
    main()
