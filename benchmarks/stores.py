"""Measures how fast examples are read from a store: in order and shuffled, through blocks and copies on the disk.

    python -m benchmarks.stores --data svhn-records --split train
    python -m benchmarks.stores --data svhn-records --split train --address s3://bucket/svhn-records

Without --address, the dataset is written to an S3 server (moto's) in a process of its own on this machine, so that it
takes processor time from the reader. Every way runs in its own process, which begins without a block in memory. The
clock starts when the split is open. "CPU s" is the reader's own processor time, user and system; "by CPU" is that of
the local way divided by it, which a busy machine disturbs less than "of local".

The bare ranges are those that reading in order requests, received with urllib3 by as many threads; nothing is decoded
or kept. A reader can be as fast as the slower one of them and the local way.
"""

import argparse
import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tfrecords
from benchmarks.common.own_process import choose, fastest, run_way, serve_way
from benchmarks.common.store_server import serving
from benchmarks.common.table import markdown, verdict
from tfrecords.dataset.batches import epoch_order
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError
from tfrecords.files.blocks import AHEAD_BLOCKS, BLOCK_BYTES

_BATCH = 256
_SEED = 0
_MINIMUM_SHUFFLED_PER_S = 5_000
_MINIMUM_RATIO = 0.8
"""Minimum speed in stored order, of the local one."""
_MINIMUM_OF_LIMIT = 0.8
"""Minimum speed in stored order, of the slower one of the local way and the bare ranges: the limit of any reader."""
_THREADS = AHEAD_BLOCKS


@dataclass(frozen=True)
class Job:
    """Work of one way.

    Attributes:
      local: Dataset directory on this machine.
      address: The same dataset in a store.
      split: Split to read.
      cache: Folder for copies of shards.
    """

    local: str
    address: str
    split: str
    cache: str


@dataclass(frozen=True)
class Measured:
    """Costs of one run of a way.

    Attributes:
      examples: Number of examples read.
      seconds: Time of the pass.
      cpu_s: Processor time of the pass, of this process.
      peak_bytes: Peak memory of the process.
    """

    examples: int
    seconds: float
    cpu_s: float
    peak_bytes: int

    @property
    def per_s(self) -> float:
        """Examples per second."""
        return self.examples / self.seconds


def _in_order(examples: Examples) -> int:
    return sum(1 for _ in examples)


def _shuffled(examples: Examples) -> int:
    return sum(1 for _ in map(examples.__getitem__, epoch_order(len(examples), _SEED, 0).tolist()))


def _batches(examples: Examples) -> int:
    return sum(len(batch["key"]) for batch in tfrecords.Batches(examples, _BATCH, _SEED))


def _bare(examples: Examples) -> int:
    """Receives the ranges of an s3:// address that reading in order requests.

    Raises:
      UserError: The address is of another store, or a range does not come.
    """
    import boto3
    import urllib3
    from botocore.config import Config

    bucket, _, prefix = str(examples.directory).removeprefix("s3://").partition("/")
    if not str(examples.directory).startswith("s3://"):
        raise UserError("The bare ranges need an s3:// address.", examples.directory)
    client = boto3.client("s3", config=Config(signature_version="s3v4"))
    pool = urllib3.PoolManager(maxsize=_THREADS)

    def receive(url: str, start: int) -> None:
        answer = pool.request("GET", url, headers={"Range": f"bytes={start}-{start + BLOCK_BYTES - 1}"})
        if answer.status != 206:
            raise UserError("The store must answer a request for a range with status 206.", answer.status)

    shards = examples.manifest.split(examples.split).shards
    with ThreadPoolExecutor(_THREADS) as threads:
        asked = []
        for shard in shards:
            key = {"Bucket": bucket, "Key": f"{prefix}/{shard.file}".lstrip("/")}
            url = client.generate_presigned_url("get_object", Params=key)
            asked += [threads.submit(receive, url, start) for start in range(0, shard.bytes, BLOCK_BYTES)]
        for each in asked:
            each.result()
    return sum(shard.examples for shard in shards)


@dataclass(frozen=True)
class Way:
    """One way to read a split.

    Attributes:
      title: Name in the table.
      read: Function that reads all examples once and returns their number.
      where: `local`, `address`, or `cache`, which is the address with copies on the disk.
      again: Whether the pass before is not measured.
    """

    title: str
    read: Callable[[Examples], int]
    where: str
    again: bool = False


WAYS = {
    "local": Way("local, in order", _in_order, "local"),
    "local-shuffled": Way("local, by index, shuffled", _shuffled, "local"),
    "bare": Way("store, bare ranges, not decoded", _bare, "address", again=True),
    "store": Way("store, in order", _in_order, "address"),
    "store-again": Way("store, in order, second pass", _in_order, "address", again=True),
    "store-shuffled": Way("store, by index, shuffled", _shuffled, "address"),
    "store-batches": Way("store, Batches, shuffled", _batches, "address"),
    "cache": Way("store with cache=, in order, first pass", _in_order, "cache"),
    "cache-again": Way("store with cache=, in order, second pass", _in_order, "cache", again=True),
    "cache-shuffled": Way("store with cache=, by index, shuffled, second pass", _shuffled, "cache", again=True),
}
Rows = dict[str, Measured]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error(f"--repeats must be at least 1. Received: {args.repeats}")
    try:
        names = choose(args.only, WAYS)
        with contextlib.ExitStack() as stack:
            address = args.address or stack.enter_context(serving(args.data))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output)))

            def measure(name: str) -> Measured:
                with tempfile.TemporaryDirectory(dir=folder) as cache:
                    job = Job(str(args.data.resolve()), address, args.split, cache)
                    return Measured(**run_way("benchmarks.stores", name, job, folder)[0])

            rows = fastest({name: WAYS[name].title for name in names}, args.repeats, measure, "examples")
    except (OSError, UserError, ModuleNotFoundError) as error:
        parser.error(str(error))
    print(table(rows), *targets(rows), sep="\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset directory that prepare made")
    add("--split", default="train", help="split to read (default: train)")
    add("--address", metavar="URL", help="address of the same dataset in a store (default: a server of its own)")
    add("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join(WAYS)} (default: all)")
    add("--repeats", type=int, default=3, help="runs per way, in turn; the fastest counts (default: 3)")
    add("--output", type=Path, help="folder for a temporary folder with copies of shards (default: the system's)")
    return parser


def work(name: str, fields: dict[str, Any]) -> dict[str, float]:
    """Reads a split in one way, in this process, and returns the fields of `Measured`."""
    job, way = Job(**fields), WAYS[name]
    place = job.local if way.where == "local" else job.address

    examples = tfrecords.open(place, job.split, cache=job.cache if way.where == "cache" else None)
    if way.again:
        way.read(examples)
    start, cpu = time.perf_counter(), time.process_time()
    count = way.read(examples)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return vars(Measured(count, seconds, cpu, peak))


def table(rows: Rows) -> str:
    """Returns the rows as a Markdown table."""
    head = ("way", "examples", "seconds", "CPU s", "examples/s", "of local", "by CPU", "peak MB")
    return markdown(head, [_cells(name, row, rows) for name, row in rows.items()])


def _cells(name: str, row: Measured, rows: Rows) -> tuple[str, ...]:
    yardstick = rows.get("local-shuffled" if "shuffled" in WAYS[name].title else "local")
    ratios = ("-", "-")
    if yardstick:
        ratios = f"{row.per_s / yardstick.per_s:.2f}", f"{yardstick.cpu_s / row.cpu_s:.2f}"
    times = f"{row.seconds:.2f}", f"{row.cpu_s:.2f}", f"{row.per_s:,.0f}"
    return WAYS[name].title, f"{row.examples:,}", *times, *ratios, f"{row.peak_bytes / 1e6:,.0f}"


def targets(rows: Rows) -> list[str]:
    """Returns a line for each target with rows: its value, the minimum, and whether it is met."""
    lines = []
    for name in ("store-shuffled", "cache-shuffled"):
        if name in rows:
            text = f"{WAYS[name].title}: {rows[name].per_s:,.0f} examples/s, at least {_MINIMUM_SHUFFLED_PER_S:,}"
            lines.append(verdict(rows[name].per_s >= _MINIMUM_SHUFFLED_PER_S, text))
    for name in ("store", "store-again", "cache-again"):
        if name in rows and "local" in rows:
            ratio = rows[name].per_s / rows["local"].per_s
            text = f"{WAYS[name].title}: {ratio:.2f} of local, at least {_MINIMUM_RATIO:g}"
            lines.append(verdict(ratio >= _MINIMUM_RATIO, text))
    if {"store", "bare", "local"} <= rows.keys():
        ratio = rows["store"].per_s / min(rows["bare"].per_s, rows["local"].per_s)
        text = f"{WAYS['store'].title}: {ratio:.2f} of the slower of local and bare, at least {_MINIMUM_OF_LIMIT:g}"
        lines.append(verdict(ratio >= _MINIMUM_OF_LIMIT, text))
    return lines


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        serve_way(work)
    else:
        sys.exit(main())
