"""The cards of an export: what its files are, and which of them readers of Croissant and of Hugging Face can load."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfrecords.cards import record_sets
from tfrecords.cards.croissant import CROISSANT, document, file_object, file_set
from tfrecords.cards.facts import Facts
from tfrecords.cards.readme import README, Configs, card
from tfrecords.files.shards import stream_sha256

PATTERN = rf"{CROISSANT}|{README}".replace(".", r"\.")
"""Regular expression of the names of the cards of an export."""
_PARQUET = "application/x-parquet"
_READABLE = {
    "parquet": "Every reader of Croissant can read these records.",
    "arrow": "Arrow IPC files, which pyarrow, pandas, Polars and Hugging Face datasets read; mlcroissant does not.",
    "webdataset": "Each picture is KEY.png or KEY.jpg in a tar file, next to KEY.json with all that is known of it.",
    "coco": "Boxes and texts are in SPLIT/instances.json, in COCO's format.",
    "yolo": "Boxes are in labels/SPLIT, a text file for each picture in YOLO's format.",
}


class File(NamedTuple):
    """A file of an export that the cards name.

    Attributes:
      name: Path in the export.
      bytes: Size.
      sha256: Digest, hexadecimal.
    """

    name: str
    bytes: int
    sha256: str


def describe_file(path: Path, folder: Path) -> File:
    """Returns a file of an export in a folder."""
    with path.open("rb") as stream:
        digest = stream_sha256(stream)
    return File(path.relative_to(folder).as_posix(), path.stat().st_size, digest)


def export_cards(facts: Facts, kind: str, files: list[File], examples: Mapping[str, int]) -> dict[str, bytes]:
    """Returns the cards of an export, by name.

    Args:
      facts: What is known of the dataset.
      kind: Format of the files, as `export --to` has it.
      files: Files with their digests, in order: all but the pictures of coco and yolo, and the labels of yolo.
      examples: Number of examples by split.
    """
    objects = [file_object(file.name, file.sha256, file.bytes) for file in files]
    sets, record_set = _FILES[kind](facts, files)
    data = document(facts, [*objects, *sets], [record_sets.splits(examples), record_set])
    configs: Configs = []
    if kind in ("parquet", "arrow"):
        paths = [{"split": split, "path": f"data/{split}-*.{kind}"} for split in examples]
        configs = [{"config_name": "default", "data_files": paths}]
    return {README: card(facts, examples, configs, _reading(kind)), CROISSANT: data}


def _reading(kind: str) -> list[str]:
    """Returns lines on how to read an export."""
    lines = [_READABLE[kind]]
    if kind == "parquet":
        croissant = f'mlcroissant.Dataset(jsonld="{CROISSANT}").records("{record_sets.EXAMPLES}")'
        lines += ["", "```python", 'datasets.load_dataset("DIR")', croissant, "```"]
    return lines


_Sets = tuple[list[dict[str, Any]], dict[str, Any]]


def _columnar(kind: str) -> Callable[[Facts, list[File]], _Sets]:
    def describe(facts: Facts, files: list[File]) -> _Sets:
        media = _PARQUET if kind == "parquet" else "application/vnd.apache.arrow.file"
        found = file_set("files", [f"data/*.{kind}"], media, "A file for each shard.")
        return [found], record_sets.columns(facts.manifest, "files", _READABLE[kind])

    return describe


def _webdataset(facts: Facts, files: list[File]) -> _Sets:
    archives = [file.name for file in files]
    is_jpeg = facts.manifest.image.encoding == "jpeg"
    media, suffix = ("image/jpeg", "jpg") if is_jpeg else ("image/png", "png")
    images = file_set("pictures", [f"*.{suffix}"], media, "The pictures in the tar files.", archives)
    labels = file_set("labels", ["*.json"], "application/json", "What is known of each picture.", archives)
    return [images, labels], record_sets.files_of_pictures(facts.manifest, "pictures", False, _READABLE["webdataset"])


def _pictures(kind: str) -> Callable[[Facts, list[File]], _Sets]:
    def describe(facts: Facts, files: list[File]) -> _Sets:
        is_jpeg = facts.manifest.image.encoding == "jpeg"
        media, suffix = ("image/jpeg", "jpg") if is_jpeg else ("image/png", "png")
        folder = "*/images" if kind == "coco" else "images/*"
        sets = [file_set("pictures", [f"{folder}/*.{suffix}"], media, "A file for each picture.")]
        if kind == "yolo":
            sets.append(file_set("labels", ["labels/*/*.txt"], "text/plain", "A line for each box."))
        return sets, record_sets.files_of_pictures(facts.manifest, "pictures", kind == "coco", _READABLE[kind])

    return describe


_FILES: dict[str, Callable[[Facts, list[File]], _Sets]] = {
    "parquet": _columnar("parquet"),
    "arrow": _columnar("arrow"),
    "webdataset": _webdataset,
    "coco": _pictures("coco"),
    "yolo": _pictures("yolo"),
}
