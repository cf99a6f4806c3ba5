"""Where the files of a COCO data set are: annotations by subset, and the folder of the pictures that they name."""

import re
from collections.abc import Iterable, Iterator

from beam_jobs.sources.base import FOR_VALIDATION, Input, check_subset_names, subset_of
from beam_jobs.sources.layout import choose, is_annotations
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_OF_DETECTION = re.compile(r"(?i)instances_.*\.json|.*\.coco\.json")
"""Names of files of boxes, as COCO, CVAT and Datumaro (instances_NAME.json) and Roboflow (_annotations.coco.json) have
them next to those of captions and key points."""
_ANNOTATIONS = ("annotations", "labels")
"""Folders of annotations whose names are no subsets."""
_SPLITS = ("train", "test", *FOR_VALIDATION)
_MOST_REMOTE = 20
"""Number of pictures that are looked for at an address before none is taken to be there."""


def find_files(given: Input) -> dict[str, Place]:
    """Returns the annotation files of an input by the name of their subset, in the order of the names' reading.

    Args:
      given: A file; or a folder that holds such files, itself or in a folder in it.

    Raises:
      UserError: There is no such file, two are the same subset, or a wanted one is missing.
    """
    place, wanted = given.place, given.wanted
    if place.is_file():
        if len(wanted) > 1:
            raise UserError(f"{place} is one subset: give it one name.", ",".join(wanted))
        found = {wanted[0] if wanted else _name_of_single(place): place}
        check_subset_names(tuple(found))
        return found
    if not place.is_dir():
        raise UserError("The input must be a COCO detection file (JSON), or a folder that holds some.", place)
    found = {}
    for name, file in _files_in(place):
        if name in found:
            rule = f"{place} must hold one file for each subset, and two would be {name}: give one of them as --input."
            raise UserError(rule, f"{found[name]}, {file}")
        found[name] = file
    if not found:
        rule = "The input must hold a COCO detection file (.json), itself, in `annotations` or in a folder per subset."
        raise UserError(rule, place)
    chosen = choose(found, wanted, place)
    check_subset_names(tuple(chosen))
    return chosen


def all_files(place: Place) -> list[str]:
    """Returns every JSON file where annotations are looked for in a folder, sorted."""
    if not place.is_dir():
        return []
    return sorted(str(folder / name) for folder in _folders(place) for name in _json_names(folder))


def find_pictures(file: Place, names: Iterable[str], media_root: Place | None) -> Place:
    """Returns the folder that the names of pictures are relative to: the first of some in which one of them is.

    The folders are that of the file, `images` in it, those two with the subset's folder in them, and the same around a
    folder `annotations`. The subset's folder is called as the file is after `instances_`.

    Args:
      file: Annotation file.
      names: Names of its pictures.
      media_root: Folder to take, whatever it holds.

    Raises:
      UserError: None of the pictures is in any of the folders.
    """
    if media_root is not None:
        return media_root
    part = file.name.rpartition(".")[0]
    part = part.partition("instances_")[2] or part
    around = [file.parent.parent] if file.parent.name.lower() in _ANNOTATIONS else []
    bases = (*around, file.parent)
    folders = [base / way for base in bases for way in (f"images/{part}", part, "images")] + list(bases)
    present = [folder for folder in folders if folder.is_dir()]
    first = ""
    for number, name in enumerate(names):
        first = first or name
        if file.is_remote and number == _MOST_REMOTE:
            break
        for folder in present:
            if (folder / name).is_file():
                return folder
    rule = f"{file}: The pictures must be next to it, or --media-root must name their folder; none of them was found in"
    raise UserError(f"{rule} {', '.join(map(str, present))}.", first or "no picture")


def _name_of_single(file: Place) -> str:
    """Returns the subset of a file: by its name, or by that of its folder."""
    name, folder = subset_of(file.name), file.parent.name.lower()
    return folder if name == "train" and folder in _SPLITS else name


def _folders(place: Place) -> Iterator[Place]:
    """Yields a folder and the folders in it that may hold annotations."""
    yield place
    for entry in place.entries():
        if entry.is_folder:
            yield place / entry.name


def _json_names(folder: Place) -> list[str]:
    return [entry.name for entry in folder.entries() if not entry.is_folder and is_annotations(entry.name)]


def _files_in(place: Place) -> Iterator[tuple[str, Place]]:
    """Yields the names of subsets and their annotation files."""
    for folder in _folders(place):
        names = _json_names(folder)
        chosen = [name for name in names if _OF_DETECTION.fullmatch(name)] or names
        # A folder per subset, as Roboflow has them, is called as the subset.
        is_subset = folder is not place and folder.name.lower() not in _ANNOTATIONS and len(chosen) == 1
        for name in chosen:
            yield folder.name.lower() if is_subset else subset_of(name), folder / name
