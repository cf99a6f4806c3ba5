"""Where the files of a YOLO data set are: the names of its classes, and its pictures and labels by subset.

The layout is that of Ultralytics (https://docs.ultralytics.com/datasets/detect/): a data.yaml names the folders of
pictures, and the label file of a picture is where the last `images` in its path is `labels`; without an `images`, it is
next to the picture. Darknet's layout (obj.names, pictures and labels in one folder) is read too.
"""

import posixpath
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from beam_jobs.sources.base import FOR_VALIDATION, PICTURE_SUFFIXES, subset_of
from beam_jobs.sources.grouping import character_of
from tfrecords.errors import UserError, printable
from tfrecords.files.place import Place

_SPLITS = ("train", *FOR_VALIDATION, "test")
_NAMES_FILES = ("classes.txt", "obj.names", "data.names", "labels/classes.txt")
_NOT_LABELS = (
    {"classes.txt", "train.txt", "test.txt", "readme.txt", "notes.txt", "requirements.txt"}
    | {f"{name}.txt" for name in FOR_VALIDATION}
    | {f"readme.{name}.txt" for name in ("dataset", "roboflow")}
)


@dataclass(frozen=True)
class Entry:
    """One picture, or one label file without one.

    Attributes:
      name: Path of the picture, relative to the data set's folder; of the label file, if there is no picture.
      label: Path of the label file; None if there is none.
      fault: Reason why the entry cannot be read, as `no_image`; empty if it can be.
    """

    name: str
    label: str | None
    fault: str = ""


@dataclass(frozen=True)
class Layout:
    """A data set's folder.

    Attributes:
      root: Folder that all paths are relative to.
      classes: Names of the classes, by the number that label files have.
      characters: Characters of the classes that are one, by the number that label files have.
      entries: Pictures by subset, in sorted order.
      unread: Folders of the data set that hold label files and are in no subset.
    """

    root: Place
    classes: dict[str, str]
    characters: dict[str, str]
    entries: dict[str, tuple[Entry, ...]]
    unread: tuple[str, ...]

    def at(self, name: str) -> Place:
        """Returns the place of a path; without `pathlib`, which takes as long as opening the file."""
        return Place(f"{self.root}/{name}")


@lru_cache(maxsize=2)
def find_layout(place: Place) -> Layout:
    """Returns the layout of a data set: its pictures are listed, and none of its label files is opened.

    Args:
      place: Folder of the data set, or its data.yaml.

    Raises:
      UserError: It is no YOLO data set.
    """
    config = _config(place)
    folder = config.parent if config else place
    if config is None and not place.is_dir():
        raise UserError("The input must be a YOLO folder that exists, or its data.yaml.", place)
    stored = _read_yaml(config) if config else {}
    root = _root(folder, stored.get("path"))
    classes = _classes(config, stored) if config and "names" in stored else _classes_of_text(folder, config)
    characters = {key: each for key, name in classes.items() if (each := character_of(name)) is not None}
    if not characters:
        rule = f"{config or folder}: The classes must be characters (0, 7, A, seven)."
        raise UserError(rule, ", ".join(printable(name) for name in list(classes.values())[:12]) or "no class")
    files = tuple(root.walk())
    given = {key: stored[key] for key in _SPLITS if key in stored and stored[key] not in ("", [], "null", "~")}
    found = {key: _named(config, root, value, files) for key, value in given.items()} if config and given else {}
    found = found or _folders(files)
    present = set(files)
    labels = set(filter(_is_label, files))
    stems = Counter(label_of(name) for name in files if _is_picture(name))
    labelled: set[str] = set()
    entries = {name: tuple(_entries(names, labels, stems, labelled, present)) for name, names in found.items()}
    read = {entry.label for each in entries.values() for entry in each}
    unread = sorted({str(root / posixpath.dirname(name)) for name in labels - read})
    return Layout(root, classes, characters, entries, tuple(unread))


def label_of(name: str) -> str:
    """Returns the path of the label file of a picture, as Ultralytics has it (`img2label_paths`)."""
    parts = posixpath.splitext(name)[0].split("/")
    at = next((at for at in reversed(range(len(parts) - 1)) if parts[at].lower() == "images"), None)
    if at is not None:
        parts[at] = "labels"
    return "/".join(parts) + ".txt"


def _config(place: Place) -> Place | None:
    """Returns the data.yaml of an input, or None if it has none."""
    if place.suffix in (".yaml", ".yml") and place.is_file():
        return place
    if not place.is_dir():
        return None
    found = [entry.name for entry in place.entries() if not entry.is_folder and entry.name.endswith((".yaml", ".yml"))]
    usual = [name for name in ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml") if name in found]
    if not usual and len(found) > 1:
        raise UserError(f"{place} holds several YAML files: give one as --input.", ", ".join(found))
    return place / (usual or found)[0] if found else None


def _read_yaml(config: Place) -> dict[str, Any]:
    """Returns what a data.yaml holds, every value as the text that was written: 010 is no octal number."""
    import yaml  # Apache Beam needs it too

    rule = f"{config}: A data.yaml must be a YAML mapping with names, train and val."
    try:
        # BaseLoader makes nothing but strings, lists and dicts.
        stored = yaml.load(config.read_bytes().decode("utf-8-sig"), Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(rule, printable(" ".join(str(error).split())[:200])) from None
    if not isinstance(stored, dict):
        raise UserError(rule, type(stored).__name__ if stored is not None else "an empty file")
    return stored


def _root(folder: Place, path: Any) -> Place:
    """Returns the folder that a data.yaml's `path` names, or its own folder where there is no such folder here."""
    if not isinstance(path, str) or path in ("", ".", "null", "~"):
        return folder
    other = Place(path) if "://" in path or path.startswith("/") else folder / path
    return other if "\0" not in path and other.is_dir() else folder


def _classes(config: Place, stored: dict[str, Any]) -> dict[str, str]:
    """Returns the classes that a data.yaml names, as a list or by number."""
    names = stored["names"]
    rule = f"{config}: `names` must be a list of names, or map the numbers of classes, from 0, to names."
    rows = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(rows, dict) or not all(isinstance(name, str) for name in rows.values()):
        raise UserError(rule, printable(reprlib.repr(names)))
    classes = {str(key).strip(): name for key, name in rows.items()}
    if not classes or not all(key.isascii() and key.isdigit() for key in classes):
        raise UserError(rule, printable(reprlib.repr(names)))
    count = stored.get("nc", str(len(classes)))
    if count != str(len(classes)):
        received = printable(count) if isinstance(count, str) else reprlib.repr(count)
        raise UserError(f"{config}: `nc` must be the number of names, {len(classes)}.", received)
    return {str(int(key)): name for key, name in classes.items()}


def _classes_of_text(folder: Place, config: Place | None) -> dict[str, str]:
    """Returns the classes that a text file names, one a line."""
    for name in _NAMES_FILES:
        if (folder / name).is_file():
            try:
                text = (folder / name).read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise UserError(f"{folder / name}: The names of classes must be UTF-8.", error) from None
            return {str(number): line.strip() for number, line in enumerate(text.rstrip().splitlines())}
    rule = "must have `names`" if config else "must hold a data.yaml with `names`, or a classes.txt or obj.names"
    raise UserError(f"{config or folder}: A YOLO data set {rule}.", "no names of classes")


def _named(config: Place, root: Place, value: Any, files: tuple[str, ...]) -> list[str]:
    """Returns the pictures of the folders, or lists of pictures, that a data.yaml names for a subset."""
    found: list[str] = []
    present = set(files)
    for each in value if isinstance(value, list) else [value]:
        rule = f"{config}: A subset must be a folder in {root}, a list (.txt) of pictures there, or several of these."
        if not isinstance(each, str):
            raise UserError(rule, printable(reprlib.repr(each)))
        path = _inside(root, each)
        if path in present and path.lower().endswith(".txt"):
            found += _listed(root, path, present)
            continue
        # Roboflow writes ../train/images for the folder train/images next to data.yaml.
        ways = [path, path.removeprefix("../")]
        prefixes = ["" if way == "." else f"{way}/" for way in ways]
        prefix = next((each for each in prefixes if any(name.startswith(each) for name in files)), None)
        if prefix is None:
            raise UserError(rule, printable(each))
        found += [name for name in files if name.startswith(prefix)]
    return found


def _inside(root: Place, path: str) -> str:
    """Returns a path of a data.yaml relative to the data set's folder."""
    path = path.strip().replace("\\", "/")
    return posixpath.normpath(path.removeprefix(f"{root.text}/") if path != root.text else ".")


def _listed(root: Place, path: str, present: set[str]) -> Iterator[str]:
    """Yields the paths that a list of pictures has, one a line, those that are there and those that are not.

    They are relative to the list's folder or to the data set's. Darknet's lists begin with `data/`.
    """
    try:
        lines = (root / path).read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{root / path}: A list of pictures must be UTF-8.", error) from None
    for line in lines:
        if line.strip():
            name = _inside(root, line)
            ways = (posixpath.normpath(posixpath.join(posixpath.dirname(path), name)), name, name.removeprefix("data/"))
            yield next((way for way in ways if way in present), name)


def _folders(files: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns the files by subset, by the first of their folders that is one: images/val, valid/images; else train."""
    found: dict[str, list[str]] = {}
    for name in files:
        words = map(subset_of, name.split("/")[:-1])
        found.setdefault(next((word for word in words if word != "train"), "train"), []).append(name)
    # Text files alone, as a README next to the folders, are no subset.
    return {key: names for key, names in sorted(found.items()) if any(map(_is_picture, names))}


def _entries(
    names: list[str], labels: set[str], stems: Counter[str], labelled: set[str], present: set[str]
) -> Iterator[Entry]:
    """Yields the entries of a subset, sorted by name.

    Args:
      names: Paths that the subset has, among them its pictures'.
      labels: Paths of all label files.
      stems: Number of pictures in the data set by the path of their label file.
      labelled: Paths of label files without picture that a subset has had.
      present: Paths of all files.
    """
    pictures = sorted(name for name in names if _is_picture(name))
    folders = {posixpath.dirname(label_of(name)) for name in pictures}
    alone = [name for name in labels if name not in stems and name not in labelled]
    alone = [name for name in alone if posixpath.dirname(name) in folders]
    labelled.update(alone)
    seen: set[str] = set()
    for name in sorted([*pictures, *alone]):
        label = name if name in labels else label_of(name)
        label_or_none = label if label in labels else None
        if name.startswith("/") or name.startswith("../") or "://" in name or not name.isprintable():
            yield Entry(name, label_or_none, "bad_path")
        elif name in labels:
            yield Entry(name, label, "no_image")
        elif name not in present:
            yield Entry(name, label_or_none, "missing_picture")
        elif name in seen or stems[label] > 1:
            yield Entry(name, label_or_none, "duplicate_picture")
        else:
            yield Entry(name, label_or_none)
        seen.add(name)


def _is_picture(name: str) -> bool:
    return posixpath.splitext(name)[1].lower() in PICTURE_SUFFIXES


def _is_label(name: str) -> bool:
    return name.lower().endswith(".txt") and posixpath.basename(name).lower() not in _NOT_LABELS
