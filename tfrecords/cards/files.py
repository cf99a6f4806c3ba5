"""The cards of a directory as files: writing them, and whether they are those of its manifest."""

import hashlib
import json
from collections.abc import Callable, Iterator

from tfrecords.cards.croissant import CROISSANT, dataset_croissant
from tfrecords.cards.facts import Facts
from tfrecords.cards.readme import MARK, README, of_directory
from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import parse_object

CARDS = (README, CROISSANT)
"""Names of the files."""


def make_cards(facts: Facts, manifest_json: bytes) -> dict[str, bytes]:
    """Returns the cards of a dataset directory or a stream, by name.

    Args:
      facts: What is known of the dataset.
      manifest_json: Content of its manifest.json.
    """
    digest = hashlib.sha256(manifest_json).hexdigest()
    return {README: of_directory(facts), CROISSANT: dataset_croissant(facts, digest)}


def is_own_card(directory: Place) -> bool:
    """Returns whether the README.md of a directory is a card that may be replaced, and nobody's own text."""
    return MARK.encode() in (read_bytes(directory / README) or b"")


def write_cards(directory: Place, cards: dict[str, bytes], write: Callable[[Place, bytes], None] | None = None) -> None:
    """Writes the cards that differ from those of a directory; a README.md that is somebody's own text stays.

    Args:
      directory: Dataset directory or stream.
      cards: Content of the files, by name.
      write: Function that writes a file; None for `Place.write`.

    Raises:
      UserError: A file cannot be written.
      OSError: A local file cannot be written.
    """
    for name, data in cards.items():
        found = read_bytes(directory / name)
        if found == data or (name == README and found is not None and MARK.encode() not in found):
            continue
        if write:
            write(directory / name, data)
        else:
            (directory / name).write([data])


def find_card_errors(directory: Place, manifest: Manifest, manifest_json: bytes, is_stream: bool) -> Iterator[str]:
    """Yields what of croissant.json is not of a manifest, one line each; nothing where there is no such file.

    Args:
      directory: Dataset directory or stream.
      manifest: Its manifest.
      manifest_json: Content of its manifest.json.
      is_stream: Whether it is a stream, whose manifest is replaced and so has no digest there.
    """
    place = directory / CROISSANT
    if (data := read_bytes(place)) is None:
        return
    try:
        named = _digests(data, place)
    except UserError as error:
        yield str(error)
        return
    expected: dict[str, str | None] = {
        MANIFEST: None if is_stream else hashlib.sha256(manifest_json).hexdigest(),
        **manifest.files,
        **{shard.file: shard.sha256 for split in manifest.splits.values() for shard in split.shards},
    }
    for name in sorted({*named, *expected}):
        if name not in named:
            yield f"{place}: lacks {name}, which the manifest has"
        elif name not in expected:
            yield f"{place}: names {name}, which the manifest has not"
        elif named[name] != expected[name]:
            yield f"{place}: its SHA-256 of {name} is not the manifest's"


def _digests(data: bytes, place: Place) -> dict[str, str | None]:
    """Returns the digests of the files that a Croissant file names.

    Raises:
      UserError: It is none.
    """
    content = parse_object(data, str(place))
    files = content.get("distribution")
    if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
        raise UserError(
            f"{place} must be a Croissant file, with a list of files as its distribution.", type(files).__name__
        )
    objects = [each for each in files if each.get("@type") == "cr:FileObject"]
    return {json.dumps(each.get("contentUrl")).strip('"'): each.get("sha256") for each in objects}
