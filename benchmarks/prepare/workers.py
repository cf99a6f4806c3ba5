"""Prepare itself, as its command line runs it without options of Beam.

    python -m benchmarks.prepare --input svhn --only loop,processes,prepare,prepare-workers

compares it with the same kernel in as many bare processes.
"""

# Imported here, so that no clock counts them: the command imports them when its options are checked.
import beam_jobs.prepare.advice
import beam_jobs.prepare.local
import beam_jobs.prepare.split_warnings
import beam_jobs.sources.svhn.source  # noqa: F401
from beam_jobs.__main__ import COMMANDS
from benchmarks.prepare.job import Job
from tfrecords.cli import main


def in_process(job: Job) -> None:
    """Runs prepare in this process alone."""
    run_prepare(job, "--workers", "1")


def with_workers(job: Job) -> None:
    """Runs prepare with worker processes."""
    run_prepare(job, "--workers", str(job.workers))


def run_prepare(job: Job, *options: str) -> None:
    """Runs the command of a job with more options."""
    arguments = ["--source", "svhn", "--input", job.input, "--output", job.output, *options]
    if code := main("python -m beam_jobs", "", COMMANDS, ["prepare", *arguments]):
        raise SystemExit(code)
