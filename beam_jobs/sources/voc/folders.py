"""Where the files of Pascal VOC are: subsets, XML files, and the picture of each.

The picture of an XML file is the one with the same stem, as labelImg, Roboflow and CVAT write them: next to it, or in
the same place below another folder (`Annotations/a/1.xml`, `JPEGImages/a/1.jpg`). The name that the file itself gives
decides only where that is not enough, since it is often that of another machine, of a folder, or without suffix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from beam_jobs.sources.base import PICTURE_SUFFIXES
from beam_jobs.sources.layout import SUBSETS, read_file
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_ANNOTATIONS, _PICTURES, _SETS = "Annotations", "JPEGImages", "ImageSets/Main"
"""Folders of the development kit's layout."""
_ROLES = frozenset(
    {"annotations", "annotation", "labels", "label", "xml", "xmls", "ann", "anno"}
    | {"jpegimages", "images", "image", "imgs", "img", "pictures", "photos", "jpeg"}
)
"""Names, in lower case, of folders that say what is in them and are no part of a picture's path."""


@dataclass(frozen=True)
class Listing:
    """The files of one subset.

    Attributes:
      root: Folder of the XML files.
      files: Relative paths of the XML files, sorted; those that a list of ImageSets names, in its order.
      pictures: Relative paths of the pictures in the folder of pictures, sorted.
      resolved: Picture of each file by the names alone; empty where they do not decide.
      by_name: Pictures by the names of their files in lower case, with and without suffix.
      is_listed: Whether a list of ImageSets names the files, so that no other picture belongs to the subset.
    """

    root: Place
    files: tuple[str, ...]
    pictures: tuple[str, ...]
    resolved: tuple[str, ...]
    by_name: Mapping[str, list[str]]
    is_listed: bool

    @property
    def is_plain(self) -> bool:
        """Whether names alone decide the picture of each file, each another one."""
        return all(self.resolved) and len(set(self.resolved)) == len(self.resolved)

    def spare(self, used: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the pictures of the subset that are not among the used ones, sorted."""
        names = set(used)
        return () if self.is_listed else tuple(name for name in self.pictures if name not in names)

    def read(self, index: int) -> bytes | None:
        """Returns the content of a file; None if it is not there.

        Raises:
          OSError: The file cannot be read.
        """
        try:
            return read_file(self.root, self.files[index])
        except FileNotFoundError:
            return None

    def picture_named(self, given: str) -> str:
        """Returns the only picture with the name that a file gives, whatever its folder; empty if there is none."""
        base = given.replace("\\", "/").rpartition("/")[2].strip().lower()
        found = self.by_name.get(base) or self.by_name.get(_stem(base)) or []
        return found[0] if len(found) == 1 else ""


def find_places(place: Place) -> dict[str, Place]:
    """Returns the subsets of an input by name: folders, or lists of ImageSets.

    Raises:
      UserError: The input is no folder, or holds no XML files.
    """
    if not place.is_dir():
        raise UserError("The input must be a folder of Pascal VOC XML files.", place)
    if (place / _SETS).is_dir() and (lists := _lists(place)):
        return lists
    folders = {each.name: place / each.name for each in place.entries() if each.is_folder}
    subsets = {name.lower(): folder for name, folder in folders.items() if name.lower() in SUBSETS}
    if found := {name: folder for name, folder in subsets.items() if _has_xml(folder)}:
        return found
    kits = [folder for folder in folders.values() if (folder / _SETS).is_dir()]
    if len(kits) == 1:
        return find_places(kits[0])
    if kits:
        raise UserError("The input must be one of the folders of the development kit.", ", ".join(map(str, kits)))
    if not _has_xml(place):
        raise UserError("The input must hold Pascal VOC XML files, or folders (train, valid, test) that do.", place)
    return {place.name.lower() if place.name.lower() in SUBSETS else "train": place}


def pictures_of(place: Place) -> Place:
    """Returns the folder that the pictures of a subset are in, with others or not."""
    folder = place.parent.parent.parent if place.suffix == ".txt" else place
    return folder / _PICTURES if (folder / _PICTURES).is_dir() else folder


def unlisted(places: Mapping[str, Place]) -> list[str]:
    """Returns what to say of the XML files that no list of ImageSets names; nothing if each is named."""
    lists = [place for place in places.values() if place.suffix == ".txt"]
    if not lists:
        return []
    folder = lists[0].parent.parent.parent / _ANNOTATIONS
    named = {file for place in lists for file in _listed(place)}
    spare = sum(name.lower().endswith(".xml") and f"{_ANNOTATIONS}/{name}" not in named for name in _walk(folder))
    return [f"{folder} ({spare} files that no list in {_SETS} names)"] if spare else []


def forget() -> None:
    """Forgets the folders that were listed, since they may have changed."""
    _walk.cache_clear()
    list_files.cache_clear()


@lru_cache(maxsize=4)
def _walk(folder: Place) -> tuple[str, ...]:
    return tuple(folder.walk())


@lru_cache(maxsize=8)
def list_files(path: str, pictures: str, sha256: str) -> Listing:
    """Returns the files of a subset. The digest of the annotations is there for the cache.

    Args:
      path: Folder, or list of ImageSets.
      pictures: Folder of the pictures.
      sha256: Digest of the annotations; another text for another state of the files.

    Raises:
      OSError: A folder cannot be read.
    """
    place, folder = Place(path), Place(pictures)
    is_listed = place.suffix == ".txt"
    root = place.parent.parent.parent if is_listed else place
    names = _walk(root) if not is_listed or root == folder else ()
    files = _listed(place) if is_listed else tuple(name for name in names if name.lower().endswith(".xml"))
    names = names if root == folder else _walk(folder)
    found = tuple(name for name in names if _suffix(name) in PICTURE_SUFFIXES)
    by_name: dict[str, list[str]] = {}
    for name in found:
        base = name.rpartition("/")[2].lower()
        by_name.setdefault(base, []).append(name)
        by_name.setdefault(_stem(base), []).append(name)
    return Listing(root, files, found, _resolve(files, by_name), by_name, is_listed)


def _resolve(files: tuple[str, ...], by_name: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Returns the picture of each file by its stem; empty if there is none, or several.

    A picture in the same place, apart from folders that say what is in them, comes before one elsewhere; one elsewhere
    is taken only if no other file has this stem.
    """
    stems: dict[str, int] = {}
    for file in files:
        stem = _stem(file.rpartition("/")[2].lower())
        stems[stem] = stems.get(stem, 0) + 1
    resolved = []
    for file in files:
        stem = _stem(file.rpartition("/")[2].lower())
        candidates = by_name.get(stem, [])
        place = where(file)
        near = [name for name in candidates if where(name) == place]
        if not near and stems[stem] == 1:
            near = candidates
        resolved.append(near[0] if len(near) == 1 else "")
    return tuple(resolved)


def _lists(place: Place) -> dict[str, Place]:
    """Returns the lists of ImageSets that are subsets: not those of one class, nor one that joins two others."""
    names = {each.name[:-4]: each.name for each in (place / _SETS).entries() if each.name.endswith(".txt")}
    of_class = {name for name in names if any(name.endswith(f"_{other}") for other in names)}
    joined = {"trainval"} if {"train", "val"} <= names.keys() else set()
    return {name.lower(): place / _SETS / file for name, file in names.items() if name not in of_class | joined}


def _listed(place: Place) -> tuple[str, ...]:
    """Returns the paths of the XML files that a list names, in its order and each once.

    Raises:
      UserError: The list is not in UTF-8.
    """
    try:
        lines = place.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{place} must be in UTF-8.", error.reason) from error
    names = [line.strip().strip('"').replace("\\", "/") for line in lines if line.strip()]
    return tuple(dict.fromkeys(f"{_ANNOTATIONS}/{name}.xml" for name in names if ".." not in name.split("/")))


def _has_xml(folder: Place) -> bool:
    return any(name.lower().endswith(".xml") for name in _walk(folder))


@lru_cache(maxsize=1024)
def _place_of_folder(folder: str) -> tuple[str, ...]:
    return tuple(part for part in folder.split("/") if part and part.lower() not in _ROLES)


def where(name: str) -> tuple[str, ...]:
    """Returns the folders of a path, without those that say what is in them."""
    return _place_of_folder(name.rpartition("/")[0])


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""


def _stem(base: str) -> str:
    return base.rpartition(".")[0] or base
