"""python -m tfrecords export: writes a dataset as Parquet, Arrow or WebDataset files."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from tfrecords.dataset import reader
from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.reader import Examples
from tfrecords.dataset.snapshots import load_manifest
from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.files.publish import atomic_path
from tfrecords.flags import add_snapshot, local_path
from tfrecords.progress import progress
from tfrecords.record.schema import DigitExample
from tfrecords.spawn import spawn_map

EPILOG = """\
examples:
  python -m tfrecords export svhn-records --to parquet --output svhn-parquet
  python -m tfrecords export svhn-records --to webdataset --output svhn-tars \\
      --split train,validation
  python -m tfrecords export gs://bucket/svhn-records --to arrow \\
      --output svhn-arrow --on-error skip
  python -m tfrecords export stream --snapshot 41 --to parquet \\
      --output parquet-41

formats:
  parquet     OUT/data/train-00000-of-00064.parquet, for Hugging Face datasets,
              pandas, DuckDB and Polars
  arrow       OUT/data/train-00000-of-00064.arrow, Arrow IPC files (Feather V2),
              which can be mapped into memory
  webdataset  OUT/train-000000.tar, with KEY.png and KEY.json per example; the
              key is percent-encoded

Each shard becomes one file, in order. Images become PNG files, without loss.
OUT appears when the export is complete. It is a local folder, since many files
in a store cannot appear at once: copy it there, as with aws s3 sync.
"""
_NAMES = {
    "parquet": "data/{split}-{index:05d}-of-{count:05d}.parquet",
    "arrow": "data/{split}-{index:05d}-of-{count:05d}.arrow",
    "webdataset": "{split}-{index:06d}.tar",
}
_NEXT = {
    "parquet": "datasets.load_dataset({output!r})",
    "arrow": "pyarrow.ipc.open_file(pyarrow.memory_map({file!r})).read_all()",
    "webdataset": "webdataset.WebDataset({shards!r}, shardshuffle=False).decode('pil').to_tuple('png', 'json')",
}
_EXPORTED = re.compile(r"data|(data/)?[a-z][a-z0-9_]*-(\d{5}-of-\d{5}\.(parquet|arrow)|\d{6}\.tar)")


@dataclass(frozen=True)
class _Task:
    """The examples of one shard, and the file to write them to."""

    examples: Examples
    path: Path
    kind: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `export`."""
    parser.add_argument(
        "directory", type=place, metavar="DIR", help="dataset directory that prepare wrote, or its address"
    )
    add_snapshot(parser)
    parser.add_argument("--to", choices=_NAMES, required=True, help="format of the files")
    parser.add_argument("--output", required=True, type=local_path, metavar="OUT", help="local folder to write")
    split = "split to export; repeat it or separate names with commas for several (default: all)"
    parser.add_argument("--split", action="append", metavar="NAME", help=split)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of worker processes")
    damaged = "action at a damaged record: stop with an error, or skip and count it"
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise", help=damaged)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in OUT")


def run(args: argparse.Namespace) -> int:
    """Writes the files of all splits and prints a summary.

    Raises:
      UserError: An option is out of range, OUT holds other files, or the dataset is missing or damaged.
    """
    if args.jobs < 1:
        raise UserError("--jobs must be at least 1.", args.jobs)
    # A symbolic link keeps pointing to the folder, which is replaced.
    output = args.output.resolve()
    manifest = load_manifest(args.directory, args.snapshot)
    splits = dict.fromkeys(name for names in args.split or manifest.splits for name in names.split(","))
    _check_output(output, args.overwrite)
    written: dict[str, int] = {}
    size = skipped = 0
    with atomic_path(output, sole_writer=True) as folder:
        folder.mkdir()
        tasks = list(_tasks(args, splits, manifest, folder))
        examples = sum(len(task.examples) for task in tasks)
        bar = progress("export", examples, "examples", keep=False)
        with bar, closing(spawn_map(_write, tasks, args.jobs)) as counts:
            for task, (count, bad) in zip(tasks, counts, strict=True):
                written[task.examples.split] = written.get(task.examples.split, 0) + count
                skipped += bad
                size += task.path.stat().st_size
                bar.update(len(task.examples))
    _report(args, written, f"{len(tasks):,} files, {size / 1e6:,.1f} MB", skipped)
    return 0


def _report(args: argparse.Namespace, written: dict[str, int], files: str, skipped: int) -> None:
    output = args.output
    exported = ", ".join(f"{count:,} examples of {split}" for split, count in written.items())
    damaged = f"; skipped {skipped:,} damaged examples" if skipped else ""
    print(f"exported {exported} to {output} as {args.to}: {files}{damaged}")
    split = next(iter(written))
    of_split = sorted(map(str, output.rglob(f"{split}-*")))
    shards = f"{output}/{split}-{{000000..{len(of_split) - 1:06d}}}.tar"
    print(f"Next: {_NEXT[args.to].format(output=str(output), file=of_split[0], shards=shards)}")


def _tasks(args: argparse.Namespace, splits: Iterable[str], manifest: Manifest, folder: Path) -> Iterator[_Task]:
    """Yields a task for each shard of the splits, in order, except empty ones, which some readers refuse.

    Raises:
      UserError: The dataset has no such split, or the splits have no example.
    """
    empty = True
    for split in splits:
        examples = reader.open(args.directory, split, on_error=args.on_error, manifest=manifest)
        sizes = [shard.examples for shard in manifest.split(split).shards if shard.examples]
        starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
        for index, (start, stop) in enumerate(pairwise(starts)):
            path = folder / _NAMES[args.to].format(split=split, index=index, count=len(sizes))
            yield _Task(examples[start:stop], path, args.to)
            empty = False
    if empty:
        raise UserError(f"{args.directory} must hold at least one example in the splits to export.", ", ".join(splits))


def _write(task: _Task) -> tuple[int, int]:
    """Writes one file, and returns the numbers of written and of skipped examples."""
    # A copy, which closes the shard after reading.
    examples = task.examples[:]
    task.path.parent.mkdir(exist_ok=True)
    with task.path.open("wb") as stream:
        count = _writer(task.kind)(examples, stream)
    return count, examples.skipped


def _writer(kind: str) -> Callable[[Iterable[DigitExample], BinaryIO], int]:
    if kind == "webdataset":
        from tfrecords.webdataset import write_tar

        return write_tar
    from tfrecords import arrow

    return arrow.write_parquet if kind == "parquet" else arrow.write_ipc


def _check_output(output: Path, overwrite: bool) -> None:
    """Checks that the output is free, or an earlier export that may be overwritten.

    Raises:
      UserError: The output holds other files, or is not empty and may not be overwritten.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError("--output must be a folder.", output)
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*"))
    if names and not overwrite:
        raise UserError("The output is not empty: give another --output, or --overwrite.", output)
    foreign = [name for name in names if not _EXPORTED.fullmatch(name)]
    if foreign:
        raise UserError(f"--overwrite replaces an earlier export only, but {output} holds other files.", foreign[0])
