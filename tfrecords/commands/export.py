"""python -m tfrecords export: a dataset as Parquet, Arrow or WebDataset files."""

import argparse
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from tfrecords.dataset import reader
from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.reader import Examples, OnError
from tfrecords.errors import UserError
from tfrecords.files.storage import is_remote
from tfrecords.record.schema import DigitExample
from tfrecords.spawn import spawn_map

EPILOG = """\
examples:
  python -m tfrecords export svhn-records --to parquet --output svhn-parquet
  python -m tfrecords export svhn-records --to webdataset --output svhn-tars --split train,validation
  python -m tfrecords export gs://bucket/svhn-records --to arrow --output svhn-arrow --on-error skip

parquet     OUT/data/train-00000-of-00064.parquet: Hugging Face datasets, pandas, DuckDB, Polars
arrow       OUT/data/train-00000-of-00064.arrow: Arrow IPC files (Feather V2), which can be mapped into memory
webdataset  OUT/train-000000.tar: KEY.png and KEY.json an example, the key percent-encoded

A file a shard, in order; pictures as PNG, without loss. OUT appears when it is whole.
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
    """One shard's examples, and the file to write them to."""

    examples: Examples
    path: Path
    kind: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("directory", metavar="DIR", help="dataset directory that prepare made, local or a URL")
    parser.add_argument("--to", choices=_NAMES, required=True, help="what to write")
    parser.add_argument("--output", required=True, metavar="OUT", help="folder to make")
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="to export; several with commas or repeated; default: all"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    damaged = "at a damaged record: stop, or leave it out and count it"
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise", help=damaged)
    parser.add_argument("--overwrite", action="store_true", help="replace what export wrote to OUT before")


def run(args: argparse.Namespace) -> int:
    """Writes all splits' files and says what was made."""
    if args.jobs < 1:
        raise UserError("--jobs must be at least 1.", args.jobs)
    if is_remote(args.output):
        raise UserError("--output must be a local folder.", args.output)
    output = Path(args.output)
    manifest = Manifest.load(args.directory)
    splits = [name for names in args.split or manifest.splits for name in names.split(",")]
    written: dict[str, int] = {}
    size = skipped = 0
    with _folder_when_whole(output, args.overwrite) as folder:
        tasks = list(_tasks(args.directory, dict.fromkeys(splits), args.to, args.on_error, folder))
        examples = sum(len(task.examples) for task in tasks)
        bar = tqdm(total=examples, unit=" examples", desc="export", mininterval=0.5, leave=False)
        with bar, closing(spawn_map(_write, tasks, args.jobs)) as counts:
            for task, (count, bad) in zip(tasks, counts, strict=True):
                written[task.examples.split] = written.get(task.examples.split, 0) + count
                skipped += bad
                size += task.path.stat().st_size
                bar.update(len(task.examples))
    _report(args, output, written, f"{len(tasks):,} files, {size / 1e6:,.1f} MB", skipped)
    return 0


def _report(args: argparse.Namespace, output: Path, written: dict[str, int], files: str, skipped: int) -> None:
    made = ", ".join(f"{count:,} examples of {split}" for split, count in written.items())
    left_out = f"; {skipped:,} damaged examples were skipped" if skipped else ""
    print(f"{made} are in {output} as {args.to}: {files}{left_out}")
    split = next(iter(written))
    of_split = sorted(map(str, output.rglob(f"{split}-*")))
    shards = f"{output}/{split}-{{000000..{len(of_split) - 1:06d}}}.tar"
    print(f"Next: {_NEXT[args.to].format(output=str(output), file=of_split[0], shards=shards)}")


def _tasks(directory: str, splits: Iterable[str], kind: str, on_error: OnError, folder: Path) -> Iterator[_Task]:
    """Yields a task for each shard of the splits in order; shards without examples, which some readers refuse, not.

    Raises:
      UserError: the dataset has no such split, or none of them has an example.
    """
    empty = True
    for split in splits:
        examples = reader.open(directory, split, on_error=on_error)
        sizes = [shard.examples for shard in examples.manifest.split(split).shards if shard.examples]
        starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
        for index, (start, stop) in enumerate(pairwise(starts)):
            path = folder / _NAMES[kind].format(split=split, index=index, count=len(sizes))
            yield _Task(examples[start:stop], path, kind)
            empty = False
    if empty:
        raise UserError(f"{directory} must hold an example at least in the splits to export.", ", ".join(splits))


def _write(task: _Task) -> tuple[int, int]:
    """Writes one file; returns how many examples are in it and how many were skipped."""
    # A copy, so that the shard is closed when it has been read.
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


@contextmanager
def _folder_when_whole(output: Path, overwrite: bool) -> Iterator[Path]:
    """Makes a temporary folder beside `output`, which gets its name when the block ends well, and goes otherwise.

    Raises:
      UserError: something stands there that is not to be replaced.
    """
    output = output.resolve()
    _check_free(output, overwrite)
    folder, old = (output.with_name(f".{output.name}.{os.getpid()}.{state}") for state in ("partial", "old"))
    folder.mkdir(parents=True)
    try:
        yield folder
        if output.exists():
            output.rename(old)
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_free(output: Path, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise UserError("--output must be a folder.", output)
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*"))
    if names and not overwrite:
        raise UserError("The output is not empty: give another --output, or --overwrite.", output)
    foreign = [name for name in names if not _EXPORTED.fullmatch(name)]
    if foreign:
        raise UserError(f"--overwrite replaces only what export wrote: {output} holds other files.", foreign[0])
