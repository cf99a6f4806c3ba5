"""Pictures of numbers to TFRecords: download or draw the pictures, then prepare them on Apache Beam."""

import sys

from tfrecords.cli import Command, main
from tfrecords.interrupts import keep_exit_code

COMMANDS = (
    Command(
        "sample",
        "draw house numbers as SVHN Format 1, or complete street scenes as COCO",
        "beam_jobs.sample.command",
        extra="sample",
    ),
    Command("download", "download SVHN's published archives, check and unpack them", "beam_jobs.download.command"),
    Command("sources", "list the formats that prepare reads, and what each expects", "beam_jobs.sources.command"),
    Command(
        "explore",
        "show a source's labels, sizes and pictures on one page, before preparing it",
        "beam_jobs.explore.command",
        passes_through=True,
        extra="beam",
    ),
    Command(
        "prepare",
        "crop, jitter and write a source's pictures as TFRecords",
        "beam_jobs.prepare.command",
        passes_through=True,
        extra="beam",
    ),
    Command(
        "rebuild",
        "make a dataset again from its manifest, and prove that it is the same",
        "beam_jobs.rebuild.command",
        passes_through=True,
        extra="beam",
    ),
    Command(
        "watch",
        "turn pictures, as they arrive, into a dataset that grows while it is read",
        "beam_jobs.watch.command",
        passes_through=True,
        extra="beam",
    ),
    Command("status", "print how a dataset that grows fares", "beam_jobs.watch.status_command"),
    Command(
        "compact",
        "merge the many small directories of a stream to few large ones",
        "beam_jobs.watch.upkeep.compact_command",
        extra="beam",
    ),
    Command("snapshots", "list the snapshots of a stream, or pin one", "beam_jobs.watch.upkeep.snapshots_command"),
    Command(
        "watch-job",
        "keep the job running that makes the shards of watch --cluster",
        "beam_jobs.watch.cluster.job_command",
        passes_through=True,
        extra="beam",
    ),
)

if __name__ == "__main__":
    sys.exit(keep_exit_code(lambda: main("python -m beam_jobs", __doc__ or "", COMMANDS)))
