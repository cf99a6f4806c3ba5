"""prepare itself, as its command line runs it, with each of Beam's ways of running on one machine.

    python -m benchmarks.prepare --input svhn --only loop,prepare,prepare-processes,prepare-threads

runs them beside the loop.
"""

import apache_beam.runners.portability.fn_api_runner.fn_runner  # noqa: F401  (imports do not count, in any way)

import beam_jobs.prepare.command  # noqa: F401
from beam_jobs.__main__ import COMMANDS
from benchmarks.prepare.job import Job
from tfrecords.cli import main


def in_process(job: Job) -> None:
    """Without any option of Beam's."""
    _prepare(job)


def with_processes(job: Job) -> None:
    """In worker processes, which Beam starts."""
    _prepare(job, "--direct_running_mode", "multi_processing", "--direct_num_workers", str(job.workers))


def with_threads(job: Job) -> None:
    """In worker threads."""
    _prepare(job, "--direct_running_mode", "multi_threading", "--direct_num_workers", str(job.workers))


def _prepare(job: Job, *beam_options: str) -> None:
    arguments = ["--source", "svhn", "--input", job.input, "--output", job.output, *beam_options]
    if code := main("python -m beam_jobs", "", COMMANDS, ["prepare", *arguments]):
        raise SystemExit(code)
