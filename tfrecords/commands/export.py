"""python -m tfrecords export: writes a dataset as Parquet, Arrow or WebDataset files, or scenes for detectors."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from tfrecords.cards.exports import PATTERN as CARD_PATTERN
from tfrecords.cards.exports import File, describe_file, export_cards
from tfrecords.cards.facts import Facts, load_about, read_statistics
from tfrecords.commands import export_pictures
from tfrecords.commands.export_pictures import PictureTask
from tfrecords.dataset import reader
from tfrecords.dataset.about import About
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.dataset.reader import Examples, Scenes
from tfrecords.dataset.snapshots import find_snapshot, load_manifest
from tfrecords.detection import CLASSES
from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.files.publish import atomic_path
from tfrecords.flags import add_flags, add_snapshot, from_flags, local_path
from tfrecords.progress import progress
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
  python -m tfrecords export photos-320 --to yolo --output photos-yolo

formats:
  parquet     OUT/data/train-00000-of-00064.parquet, for Hugging Face datasets,
              pandas, DuckDB and Polars
  arrow       OUT/data/train-00000-of-00064.arrow, Arrow IPC files (Feather V2),
              which can be mapped into memory
  webdataset  OUT/train-000000.tar, with KEY.png and KEY.json per example; the
              key is percent-encoded
  coco        OUT/train/images and OUT/train/instances.json, of scenes
  yolo        OUT/images/train, OUT/labels/train and OUT/data.yaml, of scenes

Each shard becomes one file, in order. Images become PNG files, without loss;
the pictures of scenes stay the JPEG files that they are. Scenes are what
prepare --task find writes. For coco and yolo, --classes number makes each
number one box, --classes digits each character whose box is known, all both.

OUT has croissant.json, MLCommons' metadata with the digest of each file, and
README.md, a dataset card in Hugging Face's form. Every reader of Croissant can
load the records of parquet; of the other formats it reads what they are.

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
    "coco": "torchvision.datasets.CocoDetection('{output}/{split}/images', '{output}/{split}/instances.json')",
    "yolo": "yolo detect train data={output}/data.yaml",
}
_FORMATS = (*_NAMES, *export_pictures.FORMATS)
_EXPORTED = re.compile(
    rf"{CARD_PATTERN}|"
    + r"data|(data/)?[a-z][a-z0-9_]*-(\d{5}-of-\d{5}\.(parquet|arrow)|\d{6}\.tar)|"
    + export_pictures.PATTERN
)


@dataclass(frozen=True)
class _Task:
    """The examples of one shard, and the file to write them to."""

    examples: Examples
    path: Path
    folder: Path
    kind: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `export`."""
    parser.add_argument(
        "directory", type=place, metavar="DIR", help="dataset directory that prepare wrote, or its address"
    )
    add_snapshot(parser)
    add_flags(parser, About)
    parser.add_argument("--to", choices=_FORMATS, required=True, help="format of the files")
    parser.add_argument("--output", required=True, type=local_path, metavar="OUT", help="local folder to write")
    split = "split to export; repeat it or separate names with commas for several (default: all)"
    parser.add_argument("--split", action="append", metavar="NAME", help=split)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of worker processes")
    classes = "objects of coco and yolo (default: all for coco, number for yolo)"
    parser.add_argument("--classes", choices=CLASSES, help=classes)
    damaged = "action at a damaged record: stop with an error, or skip and count it"
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise", help=damaged)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in OUT")


def run(args: argparse.Namespace) -> int:
    """Writes the files of all splits and prints a summary.

    Raises:
      UserError: An option is out of range, OUT holds other files, or the dataset is missing or damaged.
    """
    about: About = from_flags(About, vars(args))
    if args.jobs < 1:
        raise UserError("--jobs must be at least 1.", args.jobs)
    # A symbolic link keeps pointing to the folder, which is replaced.
    output = args.output.resolve()
    manifest = load_manifest(args.directory, args.snapshot)
    _check_format(args, manifest)
    splits = dict.fromkeys(name for names in args.split or manifest.splits for name in names.split(","))
    _check_output(output, args.overwrite)
    with atomic_path(output, sole_writer=True) as folder:
        folder.mkdir()
        tasks: list[Any] = list(_tasks(args, splits, manifest, folder))

        def each(write: Callable[[Any], Any], tasks: list[Any]) -> Iterator[tuple[Any, Any]]:
            examples = sum(len(task.examples) for task in tasks)
            bar = progress("export", examples, "examples", keep=False)
            with bar, closing(spawn_map(write, tasks, args.jobs)) as results:
                for task, result in zip(tasks, results, strict=True):
                    yield task, result
                    bar.update(len(task.examples))

        if args.to in export_pictures.FORMATS:
            found, size, skipped = export_pictures.write_pictures_of(tasks, manifest.labels.alphabet, each)
            written = {split: len(pictures) for split, pictures in found.items()}
            named = ("data.yaml", *(f"{split}/instances.json" for split in found))
            files = [describe_file(folder / name, folder) for name in named if (folder / name).exists()]
            for note in export_pictures.notes(args.to, found):
                print(note, file=sys.stderr)
        else:
            written, files, skipped = _write_files(tasks, each)
            size = sum(file.bytes for file in files)
        facts = _facts(args, manifest, about, splits)
        for name, data in export_cards(facts, args.to, files, written).items():
            (folder / name).write_bytes(data)
    count = sum(written.values()) if args.to in export_pictures.FORMATS else len(tasks)
    what = "pictures" if args.to in export_pictures.FORMATS else "files"
    _report(args, written, f"{count:,} {what}, {size / 1e6:,.1f} MB", skipped, manifest.task == FIND)
    return 0


def _check_format(args: argparse.Namespace, manifest: Manifest) -> None:
    """Checks that the format is one for the task of the dataset.

    Raises:
      UserError: It is not, or --classes was given for another format.
    """
    if args.to in export_pictures.FORMATS:
        if manifest.task != FIND:
            others = ", ".join(_NAMES)
            rule = f"{args.to} is for scenes, as `prepare --task find` writes them; other datasets have {others}."
            raise UserError(rule, f"the task {manifest.task}")
    elif args.classes:
        raise UserError(f"--classes is for {' and '.join(export_pictures.FORMATS)}.", f"--to {args.to}")


def _write_files(
    tasks: list[_Task], each: Callable[[Callable[[Any], Any], list[Any]], Iterator[Any]]
) -> tuple[dict[str, int], list[File], int]:
    """Writes a file for each task; returns the examples by split, the files, and the skipped examples."""
    written: dict[str, int] = {}
    files, skipped = [], 0
    for task, (count, bad, file) in each(_write, tasks):
        written[task.examples.split] = written.get(task.examples.split, 0) + count
        skipped += bad
        files.append(file)
    return written, files, skipped


def _facts(args: argparse.Namespace, manifest: Manifest, about: About, splits: Iterable[str]) -> Facts:
    """Returns what is known of the dataset, with what the flags state of it.

    Raises:
      UserError: A file of it is damaged.
    """
    about = about.over(load_about(args.directory).to_dict())
    snapshot = find_snapshot(args.directory, manifest, args.snapshot)
    number = None if snapshot is None else snapshot.snapshot
    return Facts(manifest, about, read_statistics(args.directory, manifest, splits), number)


def _report(args: argparse.Namespace, written: dict[str, int], files: str, skipped: int, of_scenes: bool) -> None:
    output = args.output
    exported = ", ".join(f"{count:,} examples of {split}" for split, count in written.items())
    damaged = f"; skipped {skipped:,} damaged examples" if skipped else ""
    print(f"exported {exported} to {output} as {args.to}: {files}{damaged}")
    split = next(iter(written))
    of_split = sorted(map(str, output.rglob(f"{split}-*"))) or [""]
    shards = f"{output}/{split}-{{000000..{len(of_split) - 1:06d}}}.tar"
    following = _NEXT[args.to] if not of_scenes else _NEXT[args.to].replace("'png'", "'jpg;png'")
    print(f"Next: {following.format(output=str(output), file=of_split[0], shards=shards, split=split)}")


def _tasks(
    args: argparse.Namespace, splits: Iterable[str], manifest: Manifest, folder: Path
) -> Iterator[_Task | PictureTask]:
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
            empty = False
            if args.to in export_pictures.FORMATS and isinstance(examples, Scenes):
                classes = args.classes or export_pictures.DEFAULT_CLASSES[args.to]
                yield PictureTask(examples[start:stop], start, folder, args.to, classes)
                continue
            path = folder / _NAMES[args.to].format(split=split, index=index, count=len(sizes))
            yield _Task(examples[start:stop], path, folder, args.to)
    if empty:
        raise UserError(f"{args.directory} must hold at least one example in the splits to export.", ", ".join(splits))


def _write(task: _Task) -> tuple[int, int, File]:
    """Writes one file, and returns the numbers of written and of skipped examples, and its size and digest."""
    # A copy, which closes the shard after reading.
    examples = task.examples[:]
    task.path.parent.mkdir(exist_ok=True)
    with task.path.open("wb") as stream:
        count = _writer(task.kind, isinstance(examples, Scenes))(examples, stream)
    return count, examples.skipped, describe_file(task.path, task.folder)


def _writer(kind: str, of_scenes: bool) -> Callable[[Iterable[Any], BinaryIO], int]:
    if kind == "webdataset":
        from tfrecords.webdataset import write_tar

        return write_tar
    from tfrecords import arrow

    schema = arrow.SCENE_SCHEMA if of_scenes else arrow.SCHEMA
    return partial(arrow.write_parquet if kind == "parquet" else arrow.write_ipc, schema=schema)


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
