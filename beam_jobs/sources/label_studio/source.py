"""Label Studio's exports JSON and JSON-MIN as a `Source`.

The exports are described at https://labelstud.io/guide/export. A file is read task by task, so that its memory is that
of the numbers in it; the annotations of the last subset stay in memory, so that a process parses it once.
"""

import io
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, Source, SourceOptions, Subset, own_name, subset_of
from beam_jobs.sources.label_studio.tasks import EMPTY, Json, is_full, picture_of, places_of, readings_of
from beam_jobs.sources.layout import SUBSETS, choose, digest, is_annotations, no_garbage, read_first
from beam_jobs.sources.marks import Fault, annotations_of, check_attribute, rejected, unannotated
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_CHUNK = 1 << 24
"""Characters that are read at a time."""
_TASK = re.compile(r"[^ \t\r\n,]|\Z")
"""Where a task begins, the list ends, or the text does."""


class LabelStudioSource(Source):
    """Reader of Label Studio's exports."""

    title = "Label Studio JSON or JSON-MIN export"
    expects = (
        "a .json file, or a folder of such files (val.json and files in a folder val are the subset val): a text for "
        "each rectangle or picture, or rectangles whose labels are characters"
    )
    options = ("text_attribute",)
    takes_media_root = True

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an export: see `expects`.

        Raises:
          UserError: There is no export, it is damaged, or a wanted subset is missing.
        """
        folder, found = _files(given.place)
        if not found:
            raise UserError("The input must be a Label Studio export, a .json file, or a folder of them.", folder)
        pictures = given.media_root.text if given.media_root else ""
        subsets = []
        for name, files in choose(found, given.wanted, given.place).items():
            sha256 = digest(folder, files)
            annotations = _parse(folder, tuple(files), sha256, name, options.text_attribute, "left")
            check_attribute(options.text_attribute, annotations, given.place)
            subsets.append(Subset(name, given.place.text, len(annotations), sha256, pictures))
        return tuple(subsets)

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the files of the subsets that are not read, sorted."""
        folder, found = _files(given.place)
        names = {subset.name for subset in subsets}
        if len(found) == 1:
            return ()
        return tuple(sorted(str(folder / file) for name in found if name not in names for file in found[name]))

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries; see `Source`.

        Raises:
          UserError: The export is damaged.
        """
        folder, found = _files(Place(subset.path))
        files = found[own_name(subset.name, found)]
        sha256, attribute = subset.annotations_sha256, options.text_attribute
        yield from _parse(folder, tuple(files), sha256, subset.name, attribute, digit_order)[start:stop]

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file: from the folder of pictures if one is given, else from its address.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        if "://" in name and not subset.pictures:
            return Place(name).read_linked()
        return read_first(_folder(subset), places_of(name))

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns where the file of a picture may be; nothing for an address."""
        if "://" in name and not subset.pictures:
            return ()
        return tuple(_folder(subset) / each for each in places_of(name))


SOURCE = LabelStudioSource()


def _folder(subset: Subset) -> Place:
    """Returns the folder of a subset's pictures, if they are files."""
    place = Place(subset.pictures or subset.path)
    return place.parent if not subset.pictures and place.suffix == ".json" else place


def _files(place: Place) -> tuple[Place, dict[str, list[str]]]:
    """Returns the folder of an export, and the names of the files of each subset, by the subset's name."""
    if place.suffix == ".json" and place.is_file():
        return place.parent, {subset_of(place.name): [place.name]}
    if not place.is_dir():
        raise UserError("The input must be a .json file or a folder that exists.", place)
    found: dict[str, list[str]] = {}
    for entry in place.entries():
        if entry.is_folder and entry.name.lower() in SUBSETS:
            inside = [each.name for each in (place / entry.name).entries() if not each.is_folder]
            files = [f"{entry.name}/{name}" for name in inside if is_annotations(name)]
            found.setdefault(entry.name.lower(), []).extend(files)
        elif not entry.is_folder and is_annotations(entry.name):
            found.setdefault(subset_of(entry.name), []).append(entry.name)
    return place, {name: sorted(files) for name, files in sorted(found.items()) if files}


@lru_cache(maxsize=2)
def _parse(
    folder: Place, files: tuple[str, ...], sha256: str, subset: str, attribute: str | None, digit_order: str
) -> list[Annotation]:
    """Returns the annotations of a subset. The digest of the files is there for the cache.

    Raises:
      UserError: A file is damaged.
    """
    found: list[Annotation] = []
    names: set[str] = set()
    with no_garbage():
        for file in files:
            for tasks in _same_task(_tasks(folder / file)):
                found += _annotations(tasks, subset, len(found), names, attribute, digit_order)
    if not found:
        raise UserError("A Label Studio export must hold a task.", ", ".join(str(folder / file) for file in files))
    return found


def _same_task(tasks: Iterator[Any]) -> Iterator[list[Any]]:
    """Yields the records of JSON-MIN that are one task, one for each annotator; any other task alone."""
    held: list[Any] = []
    for task in tasks:
        if isinstance(task, dict) and "annotation_id" in task and "id" in task and not is_full(task):
            if held and held[0]["id"] != task["id"]:
                yield held
                held = []
            held.append(task)
        else:
            if held:
                yield held
                held = []
            yield [task]
    if held:
        yield held


def _annotations(
    tasks: list[Any], subset: str, index: int, names: set[str], attribute: str | None, digit_order: str
) -> list[Annotation]:
    """Returns the annotations of one task.

    Args:
      tasks: The task; or the records of JSON-MIN that are one.
      subset: Name of the subset.
      index: Index of the first entry.
      names: Names of the pictures of other tasks, to which that of this one is added.
      attribute: Name of the control that holds the numbers; None for any.
      digit_order: Reading order.
    """
    if not all(isinstance(task, dict) for task in tasks):
        fault = Fault("damaged", "A task must be a JSON object.", str(tasks[0])[:100])
        return [rejected(subset, f"#{index + 1}", index, fault)]
    first: Json = tasks[0]
    data = first.get("data")
    name, wrong = picture_of(data if isinstance(data, dict) else first)
    if wrong:
        return [rejected(subset, f"#{index + 1}", index, wrong)]
    if name in names:
        fault = Fault("duplicate_picture", "A picture must have one task.", first.get("id"))
        return [rejected(subset, name, index, fault)]
    names.add(name)
    readings = [readings_of(task, attribute) for task in tasks]
    drawn = [marks for found, _ in readings for marks in found]
    answers = [annotations_of(subset, name, index, marks, digit_order) for marks in drawn if marks]
    if len(drawn) == 1 and answers:
        return answers[0]
    if not answers:
        is_empty = all(found and note == EMPTY for found, note in readings)
        return [unannotated(subset, name, index, readings[0][1], is_empty)]
    empty = not all(drawn)
    texts = {tuple(sorted(each.dead.reason if each.dead else each.text for each in answer)) for answer in answers}
    if len(texts) > 1 or empty:
        received = " / ".join(sorted(" ".join(each) for each in texts) + ["nothing"] * empty)
        rule = "The annotators of a task must agree, or one must be marked as the ground truth."
        return [rejected(subset, name, index, Fault("conflicting", rule, received[:200]))]
    return answers[0]


def _tasks(place: Place) -> Iterator[Any]:
    """Yields the tasks of a file: the elements of its list, or the object that it is, read piece by piece.

    Raises:
      UserError: The file is no such JSON.
    """
    decode = json.JSONDecoder().raw_decode
    with place.open() as binary, io.TextIOWrapper(binary, "utf-8-sig") as stream:
        try:
            text, at = stream.read(_CHUNK).lstrip(), 0
            if text[:1] == "{":
                yield _one_task(json.loads(text + stream.read()), place)
                return
            if text[:1] != "[":
                raise UserError(f"{place} must be a JSON list of tasks.", text[:40] or "nothing")
            at = 1
            while True:
                while len(text) - at < _CHUNK >> 8 and (more := stream.read(_CHUNK)):
                    text, at = text[at:] + more, 0
                at = _TASK.search(text, at).start()  # type: ignore[union-attr]
                if text[at : at + 1] == "]":
                    return
                try:
                    task, at = decode(text, at)
                except json.JSONDecodeError:
                    if not (more := stream.read(_CHUNK)):
                        raise
                    text, at = text[at:] + more, 0
                    continue
                yield task
        except (ValueError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{place} must be a JSON list of tasks in UTF-8, and complete.", str(error)[:200]
            ) from error


def _one_task(task: Json, place: Place) -> Json:
    """Returns the only task of a file, which Label Studio's storages write.

    Raises:
      UserError: The object is no task.
    """
    if not is_full(task):
        if "images" in task and "annotations" in task:
            raise UserError(f"{place} is a COCO file: --source coco reads it.")
        raise UserError(f"{place} must be a JSON list of tasks, or one task with `data`.", ", ".join(task)[:200])
    return task
