"""Folders of pictures with COCO's or YOLO's labels, which `export` writes of scenes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.dataset.reader import Scenes
from tfrecords.detection import ALL, FOLDERS, NUMBER, Picture, class_names, coco_json, describe
from tfrecords.detection import yolo_label as label_of
from tfrecords.detection import yolo_yaml as yaml_of
from tfrecords.record.scene import picture_file

COCO, YOLO = FORMATS = ("coco", "yolo")
DEFAULT_CLASSES = {COCO: ALL, YOLO: NUMBER}
"""What detectors of each format's readers expect: COCO's annotations have attributes, YOLO's a class and no text."""
PATTERN = (
    r"(train|validation|test|predict)(/instances\.json|/images(/\d{6,}-[\w-]*\.(jpg|png))?)?"
    r"|(images|labels)(/(train|val|test|predict)(/\d{6,}-[\w-]*\.(jpg|png|txt))?)?|data\.yaml"
)
"""Regular expression of the paths that an export of pictures has."""


@dataclass(frozen=True)
class PictureTask:
    """The scenes of one shard, and where they go.

    Attributes:
      examples: Scenes.
      first: Index of the first of them in its split.
      output: Folder of the export.
      kind: One of `FORMATS`.
      classes: One of `tfrecords.detection.CLASSES`.
    """

    examples: Scenes
    first: int
    output: Path
    kind: str
    classes: str


@dataclass(frozen=True)
class Written:
    """What became of a task.

    Attributes:
      pictures: Pictures that were written.
      bytes: Size of their files and labels.
      skipped: Number of damaged records.
    """

    pictures: list[Picture]
    bytes: int
    skipped: int


def folders(kind: str, split: str) -> tuple[str, str]:
    """Returns the folders of a split's pictures, and of its labels or its COCO file."""
    if kind == COCO:
        return f"{split}/images", split
    return f"images/{FOLDERS.get(split, split)}", f"labels/{FOLDERS.get(split, split)}"


def write_pictures(task: PictureTask) -> Written:
    """Writes the pictures of one shard, with YOLO their labels too."""
    # A copy, which closes the shard after reading.
    scenes = task.examples[:]
    places = [task.output / folder for folder in folders(task.kind, scenes.split)]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    names = class_names(task.classes, scenes.manifest.labels.alphabet)
    found, size = [], 0
    for index, scene in enumerate(iter(scenes), start=task.first):
        data, suffix = picture_file(scene)
        picture = describe(scene, index, suffix, task.classes)
        (places[0] / picture.name).write_bytes(data)
        size += len(data)
        if task.kind == YOLO:
            label = label_of(picture, names).encode()
            (places[1] / picture.name).with_suffix(".txt").write_bytes(label)
            size += len(label)
        found.append(picture)
    return Written(found, size, scenes.skipped)


def write_pictures_of(
    tasks: list[PictureTask], alphabet: str, each: Callable[[Callable[[Any], Any], list[Any]], Iterator[Any]]
) -> tuple[dict[str, list[Picture]], int, int]:
    """Writes the pictures of all tasks, and the files that describe them.

    Args:
      tasks: At least one task.
      alphabet: Characters that numbers are made of.
      each: Function that runs a function on tasks, and yields a task and its result, in order.

    Returns:
      Pictures by split, size of all files in bytes, and number of skipped records.
    """
    found: dict[str, list[Picture]] = {}
    size = skipped = 0
    for task, written in each(write_pictures, tasks):
        found.setdefault(task.examples.split, []).extend(written.pictures)
        size += written.bytes
        skipped += written.skipped
    one = tasks[0]
    names = class_names(one.classes, alphabet)
    if one.kind == YOLO:
        paths = {FOLDERS.get(split, split): folders(YOLO, split)[0] for split in found}
        files = {"data.yaml": yaml_of(paths, names)}
    else:
        files = {f"{split}/instances.json": coco_json(pictures, names) for split, pictures in found.items()}
    for name, text in files.items():
        size += (one.output / name).write_bytes(text.encode())
    return found, size, skipped


def notes(kind: str, found: dict[str, list[Picture]]) -> Iterator[str]:
    """Yields a line for each thing that a reader of the export does not find there."""
    if dropped := sum(picture.dropped for pictures in found.values() for picture in pictures):
        yield f"note: {dropped:,} boxes outside their pictures were left out"
    if unplaced := sum(picture.unplaced for pictures in found.values() for picture in pictures):
        yield f"warning: {unplaced:,} numbers have no boxes of characters, so these are not among the objects"
    if kind == YOLO and not {"train", "validation"} <= set(found):
        yield "note: data.yaml lacks train or val, without which Ultralytics does not train"
