"""Errors of a dataset directory: every checksum, count and record against the manifest and the schema."""

import contextlib
import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from tfrecords.dataset.manifest import ANNOTATIONS, FIND, Manifest, ShardInfo, parse_content
from tfrecords.dataset.snapshots import shard_directories
from tfrecords.errors import UserError
from tfrecords.files.framing import FRAMING_BYTES, RecordLocation, read_frames
from tfrecords.files.index import format_index, index_path
from tfrecords.files.parquet import STRINGS, STRINGS_OR_NULLS, read_columns
from tfrecords.files.place import Place
from tfrecords.files.shards import stream_sha256
from tfrecords.files.storage import read_bytes
from tfrecords.progress import progress
from tfrecords.record.codec import decode
from tfrecords.record.scene import check_padding, decode_scene
from tfrecords.record.schema import SCHEMA_VERSION, check_example
from tfrecords.typed_json import step_name

_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_PART = re.compile("@[0-9]+$")
"""End of the key of one of several numbers in a picture."""
_MESSAGE_CHARACTERS = 200
"""Longest message about the manifest."""


def find_manifest_errors(data: bytes, name: str) -> Iterator[str]:
    """Yields the violations of the manifest's JSON schema, one line each, with their position in the manifest.

    Args:
      data: Content of manifest.json.
      name: Name of the file in error messages.

    Raises:
      UserError: The content is no JSON object, or of another schema version.
    """
    from jsonschema import Draft202012Validator

    content = parse_content(data, name)
    file = "manifest.schema.json" if content["schema_version"] == SCHEMA_VERSION else "manifest.schema-1.json"
    schema = json.loads((resources.files("tfrecords") / file).read_bytes())
    for error in Draft202012Validator(schema).iter_errors(content):
        position = "".join(map(step_name, error.absolute_path))
        yield f"{name}: {position.lstrip('.') or 'the object'}: {_shorten(error.message)}"


def _shorten(message: str) -> str:
    """Returns a message without its middle if it is long: jsonschema quotes complete values."""
    half = _MESSAGE_CHARACTERS // 2
    return message if len(message) <= 2 * half else f"{message[:half]} ... {message[-half:]}"


def find_errors(directory: Place | Path, manifest: Manifest, bar: Any = None) -> Iterator[str]:
    """Yields the errors of a dataset directory, one line each, in the order of its files.

    Args:
      directory: Dataset directory.
      manifest: Its manifest.
      bar: Progress bar of several directories; None shows one of this directory.
    """
    directory = Place(directory)
    yield from _file_errors(directory, manifest)
    yield from _count_errors(manifest)
    keys: Counter[str] = Counter()
    shards = [directory / shard.file for split in manifest.splits.values() for shard in split.shards]
    openings = _open_ahead(shards)
    examples = sum(split.examples for split in manifest.splits.values())
    one = contextlib.nullcontext(bar) if bar else progress("validate", examples, "examples", keep=False)
    with one as bar:
        for split, info in manifest.splits.items():
            pictures: set[str] = set()
            for shard in info.shards:
                found: list[tuple[str, int]] = []
                yield from _shard_errors(directory / shard.file, next(openings), shard, manifest, found)
                keys.update(key for key, _ in found)
                # A scene counts once for each of its numbers, or once without one.
                pictures.update(f"{_picture(key, manifest)}@{part}" for key, parts in found for part in range(parts))
                bar.update(shard.examples)
            if len(pictures) != info.pictures:
                yield f"{split}: the manifest states {info.pictures} pictures, the records have {len(pictures)}"
    yield from (f"{key}: {count} records have this key" for key, count in keys.items() if count > 1)
    yield from _subset_errors(manifest, Counter(key.partition("/")[0] for key in keys))
    yield from _annotation_errors(directory, manifest, {_picture(key, manifest) for key in keys})


def _picture(key: str, manifest: Manifest) -> str:
    """Returns the number that an example is of; a scene is its picture."""
    return key if manifest.task == FIND else key.rpartition("#")[0]


def _subset_errors(manifest: Manifest, found: Counter[str]) -> Iterator[str]:
    """Yields the first parts of keys, with their numbers of keys, that are no subset of the manifest's sources."""
    if shard_directories(manifest):
        # One manifest of several directories, as a stream has: its sources are counted together.
        return
    subsets = [source.subset for source in manifest.sources]
    for name, count in found.items():
        if name not in subsets:
            yield f"{count} records have keys that begin with {name}: the manifest's sources are {', '.join(subsets)}"


def _file_errors(directory: Place, manifest: Manifest) -> Iterator[str]:
    for name, expected in manifest.files.items():
        place = directory / name
        try:
            if place.sha256() != expected:
                yield f"{place}: its SHA-256 differs from the manifest's"
        except _MISSING:
            yield f"{place}: missing"
    named = {shard.file for split in manifest.splits.values() for shard in split.shards}
    if not directory.has_listing:
        return
    for name in directory.names():
        if ".tfrecord" in name and name not in named:
            yield f"{directory / name}: a shard that is not in the manifest"


def _count_errors(manifest: Manifest) -> Iterator[str]:
    """Yields the sums of the manifest that are wrong: pictures = accepted + rejected, accepted = written."""
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


def _open_ahead(places: Sequence[Place]) -> Iterator[Callable[[], BinaryIO]]:
    """Yields a function for each file, in order, that opens it; the file after a remote one is copied meanwhile."""
    if not any(place.is_remote for place in places):
        yield from (place.open for place in places)
        return
    pool = ThreadPoolExecutor(1)
    try:
        following = pool.submit(places[0].open)
        for place in places[1:]:
            current, following = following, pool.submit(place.open)
            yield current.result
        yield following.result
    finally:
        # What is being copied ends by itself; a process waits for it when it ends.
        pool.shutdown(wait=False, cancel_futures=True)


def _shard_errors(
    place: Place, open_shard: Callable[[], BinaryIO], shard: ShardInfo, manifest: Manifest, found: list[tuple[str, int]]
) -> Iterator[str]:
    """Yields the errors of one shard, and appends to `found` the keys of its examples and how often each counts."""
    try:
        stream = open_shard()
    except _MISSING:
        yield f"{place}: missing"
        return
    sizes = []
    with stream:
        if (size := os.fstat(stream.fileno()).st_size) != shard.bytes:
            yield f"{place}: the manifest states {shard.bytes} bytes, it has {size}"
        if stream_sha256(stream) != shard.sha256:
            yield f"{place}: its SHA-256 differs from the manifest's"
        stream.seek(0)
        try:
            for record in read_frames(stream, place.text):
                sizes.append(len(record.data) + FRAMING_BYTES)
                yield from _record_errors(record.data, record.location, manifest, found)
        except UserError as error:
            # The records after a broken frame cannot be found.
            yield str(error)
    if len(sizes) != shard.examples:
        yield f"{place}: the manifest states {shard.examples} examples, it has {len(sizes)}"
    index = Place(index_path(place.text))
    # A missing index is fine, a wrong one is not.
    if len(sizes) == shard.examples and read_bytes(index) not in (None, format_index(sizes)):
        rewrite = f"python -m tfrecords index {shlex.quote(place.text)} --overwrite"
        yield f"{index}: not the index of {place.name}; `{rewrite}` rewrites it"


def _record_errors(
    data: bytes, location: RecordLocation, manifest: Manifest, found: list[tuple[str, int]]
) -> Iterator[str]:
    try:
        key, shape = (_check_scene if manifest.task == FIND else _check_example)(data, location, manifest, found)
    except UserError as error:
        yield str(error)
        return
    expected = manifest.image.shape
    if any(size not in (None, actual) for size, actual in zip(expected, shape, strict=True)):
        yield f"{location} ({key}): the manifest states images of shape {expected}, this one has {shape}"


def _check_example(
    data: bytes, location: RecordLocation, manifest: Manifest, found: list[tuple[str, int]]
) -> tuple[str, tuple[int, ...]]:
    """Returns key and shape of an example.

    Raises:
      UserError: It breaks a rule.
    """
    example = decode(data, location, manifest.labels, manifest.schema_version)
    found.append((example.key, 1))
    check_example(example, manifest.labels)
    return example.key, example.image.shape


def _check_scene(
    data: bytes, location: RecordLocation, manifest: Manifest, found: list[tuple[str, int]]
) -> tuple[str, tuple[int, ...]]:
    """Returns key and shape of a scene.

    Raises:
      UserError: It breaks a rule.
    """
    scene = decode_scene(data, location, manifest.labels.alphabet)
    found.append((scene.key, max(1, len(scene.texts))))
    check_padding(scene, location)
    return scene.key, scene.image.shape


def _annotation_errors(directory: Place, manifest: Manifest, pictures: set[str]) -> Iterator[str]:
    """Yields the differences between annotations.parquet, which has a row per picture, and the records."""
    path = directory / ANNOTATIONS
    try:
        rows = read_columns(path, {"key": STRINGS, "reason": STRINGS_OR_NULLS})
    except _MISSING:
        return
    except UserError as error:
        yield str(error)
        return
    total = sum(source.pictures for source in manifest.sources)
    if len(rows["key"]) != total:
        yield f"{path}: {total} pictures were read, it has {len(rows['key'])} rows"
    if manifest.task == FIND:
        # A row for each number of a picture: key, key@2 and so on.
        named = dict(zip(rows["key"], rows["reason"], strict=True))
        found = {_PART.sub("", key) for key in named}
        yield from (f"{path}: {key} has no row" for key in sorted(pictures - found - set(named)))
        lost = [key for key, reason in named.items() if reason is None and not {key, _PART.sub("", key)} & pictures]
        yield from (f"{path}: {key} has no record and no reason" for key in lost)
        return
    # Several rows may have the same name; at most one of them was accepted.
    accepted = Counter(key for key, reason in zip(rows["key"], rows["reason"], strict=True) if reason is None)
    for key, reason in zip(rows["key"], rows["reason"], strict=True):
        surplus = accepted[key] - (key in pictures)
        if surplus:
            yield f"{path}: {key} " + ("has no record and no reason" if surplus > 0 else f"is {reason} and a record")
