"""python -m tfrecords validate: every checksum, count and record against the manifest and the schema."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import pyarrow.parquet as pq
from tqdm import tqdm

from tfrecords.dataset.manifest import ANNOTATIONS, Manifest, ShardInfo, parse_content, read_manifest
from tfrecords.dataset.reader import read_records
from tfrecords.errors import UserError
from tfrecords.files.framing import FRAMING_BYTES, RecordLocation
from tfrecords.files.index import format_index, index_path
from tfrecords.files.shards import file_sha256
from tfrecords.record.codec import decode
from tfrecords.record.schema import check_example

EPILOG = """\
example:
  python -m tfrecords validate svhn-records

Exit code 0: the directory is whole. Exit code 1: it is not; the first faults are named. Where manifest.json breaks
its JSON schema (tfrecords/manifest.schema.json), its faults are all that is named: the files are held against it.
"""
_FAULTS_SHOWN = 20
_MESSAGE_CHARACTERS = 200
"""Of what a line says of a fault of the manifest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="dataset directory that prepare made")
    parser.add_argument("--faults", type=int, default=_FAULTS_SHOWN, help="how many to name before giving up")


def run(args: argparse.Namespace) -> int:
    """Names the first faults, or says that there is none."""
    data, path = read_manifest(args.directory)
    found: Iterable[str] = list(find_manifest_faults(data, path))
    if not found:
        manifest = Manifest.parse(data, path)
        found = find_faults(args.directory, manifest)
    faults = []
    for fault in found:
        faults.append(fault)
        tqdm.write(f"fault: {fault}", file=sys.stderr)
        if len(faults) == args.faults:
            print(f"stopped after {args.faults} faults (--faults)", file=sys.stderr)
            break
    if faults:
        print(f"{args.directory} is not whole: {len(faults)} faults", file=sys.stderr)
        return 1
    examples = sum(split.examples for split in manifest.splits.values())
    shards = sum(len(split.shards) for split in manifest.splits.values())
    print(f"{args.directory} is whole: {examples:,} examples in {shards:,} shards, every checksum and record right")
    return 0


def find_manifest_faults(data: bytes, name: str) -> Iterator[str]:
    """Yields where a manifest breaks its JSON schema, a line each, with the place in it.

    Args:
      data: of manifest.json.
      name: what faults and errors call it.

    Raises:
      UserError: it is no JSON object, or of another schema version.
    """
    from jsonschema import Draft202012Validator

    schema = json.loads((resources.files("tfrecords") / "manifest.schema.json").read_bytes())
    for error in Draft202012Validator(schema).iter_errors(parse_content(data, name)):
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
        yield f"{name}: {place.lstrip('.') or 'the object'}: {_shortened(error.message)}"


def _shortened(message: str) -> str:
    """Returns a message without the middle of what it quotes: jsonschema quotes values whole."""
    half = _MESSAGE_CHARACTERS // 2
    return message if len(message) <= 2 * half else f"{message[:half]} ... {message[-half:]}"


def find_faults(directory: Path, manifest: Manifest) -> Iterator[str]:
    """Yields what is wrong with a dataset directory, a line each, in order of its files."""
    yield from _file_faults(directory, manifest)
    yield from _count_faults(manifest)
    keys: Counter[str] = Counter()
    examples = sum(split.examples for split in manifest.splits.values())
    with tqdm(total=examples, unit=" examples", desc="validate", mininterval=0.5, leave=False) as bar:
        for split, info in manifest.splits.items():
            pictures: set[str] = set()
            for shard in info.shards:
                found: list[str] = []
                yield from _shard_faults(directory / shard.file, shard, manifest, found)
                keys.update(found)
                pictures.update(key.rpartition("#")[0] for key in found)
                bar.update(shard.examples)
            if len(pictures) != info.pictures:
                yield f"{split}: the manifest states {info.pictures} pictures, its records are of {len(pictures)}"
    yield from (f"{key}: {count} records have this key" for key, count in keys.items() if count > 1)
    yield from _annotation_faults(directory, manifest, {key.rpartition("#")[0] for key in keys})


def _file_faults(directory: Path, manifest: Manifest) -> Iterator[str]:
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file():
            yield f"{path}: missing"
        elif file_sha256(path) != expected:
            yield f"{path}: its SHA-256 is not the manifest's"
    named = {shard.file for split in manifest.splits.values() for shard in split.shards}
    for path in sorted(directory.glob("*.tfrecord*")):
        if path.name not in named:
            yield f"{path}: a shard that the manifest does not name"


def _count_faults(manifest: Manifest) -> Iterator[str]:
    """Holds the manifest's sums against each other: read = accepted + rejected, accepted = written."""
    for source in manifest.sources:
        if source.pictures != source.accepted + source.rejected:
            yield f"{source.subset}: {source.pictures} pictures are not {source.accepted} + {source.rejected}"
    accepted = sum(source.accepted for source in manifest.sources)
    written = sum(split.pictures for split in manifest.splits.values())
    if accepted != written:
        yield f"{accepted} pictures were accepted, the splits hold {written}"
    rejected = sum(source.rejected for source in manifest.sources)
    if rejected != sum(manifest.dead_letters.values()):
        yield f"{rejected} pictures were rejected, the reasons add up to {sum(manifest.dead_letters.values())}"
    for name, split in manifest.splits.items():
        if split.examples != sum(shard.examples for shard in split.shards):
            yield f"{name}: the shards' examples do not add up to {split.examples}"


def _shard_faults(path: Path, shard: ShardInfo, manifest: Manifest, keys: list[str]) -> Iterator[str]:
    """Yields one shard's faults and appends its examples' keys to `keys`."""
    if not path.is_file():
        yield f"{path}: missing"
        return
    if path.stat().st_size != shard.bytes:
        yield f"{path}: the manifest states {shard.bytes} bytes, it has {path.stat().st_size}"
    if file_sha256(path) != shard.sha256:
        yield f"{path}: its SHA-256 is not the manifest's"
    count = 0
    sizes = []
    try:
        for record in read_records(path):
            count += 1
            sizes.append(len(record.data) + FRAMING_BYTES)
            yield from _record_faults(record.data, record.location, manifest, keys)
    except UserError as error:
        # What follows a broken frame cannot be found.
        yield str(error)
    if count != shard.examples:
        yield f"{path}: the manifest states {shard.examples} examples, it has {count}"
    index = Path(index_path(str(path)))
    # Readers do without an index, not with a wrong one.
    if count == shard.examples and index.is_file() and index.read_bytes() != format_index(sizes):
        yield f"{index}: not the index of {path.name}; `python -m tfrecords index --overwrite` makes it anew"


def _record_faults(data: bytes, where: RecordLocation, manifest: Manifest, keys: list[str]) -> Iterator[str]:
    try:
        example = decode(data, where)
        keys.append(example.key)
        check_example(example)
    except UserError as error:
        yield str(error)
        return
    expected = manifest.image.shape
    if any(size not in (None, actual) for size, actual in zip(expected, example.image.shape, strict=True)):
        yield f"{where} ({example.key}): the manifest states pictures of {expected}, it is {example.image.shape}"


def _annotation_faults(directory: Path, manifest: Manifest, pictures: set[str]) -> Iterator[str]:
    """Holds annotations.parquet against the records: a row for each picture, and a reason or records for each row."""
    path = directory / ANNOTATIONS
    if not path.is_file():
        return
    rows = pq.read_table(path, columns=["key", "reason"]).to_pydict()
    total = sum(source.pictures for source in manifest.sources)
    if len(rows["key"]) != total:
        yield f"{path}: {total} pictures were read, it has {len(rows['key'])} rows"
    # A name may stand in several rows, of which one at most was accepted.
    accepted = Counter(key for key, reason in zip(rows["key"], rows["reason"], strict=True) if reason is None)
    for key, reason in zip(rows["key"], rows["reason"], strict=True):
        surplus = accepted[key] - (key in pictures)
        if surplus:
            yield f"{path}: {key} " + ("has no record and no reason" if surplus > 0 else f"is {reason} and a record")
