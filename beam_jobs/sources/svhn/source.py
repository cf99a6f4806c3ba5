"""SVHN Format 1 as a `Source`: folders of pictures, each with a digitStruct.mat.

The folders are those of SVHN's archives (http://ufldl.stanford.edu/housenumbers/), train, test and extra, and the names
that a folder for validation usually has.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import FOR_VALIDATION, Input, Source, SourceOptions, Subset, check_subset_names
from beam_jobs.sources.svhn import FILE_NAME
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.shards import file_sha256
from tfrecords.files.storage import is_remote

_PUBLISHED = ("train", "test", "extra")
_SUBSETS = (*_PUBLISHED, *FOR_VALIDATION)
"""Names of folders, in any case, that are read unless others are wanted."""


class SvhnSource(Source):
    """Reader of SVHN Format 1."""

    packages = ("h5py",)
    title = "SVHN Format 1"
    expects = (
        "a folder with a folder per subset (train, test, extra, val), or one such folder: pictures, and a "
        "digitStruct.mat with a box for each digit"
    )
    defaults: Mapping[str, Any] = {"max_length": 5}
    has_boxes = True

    def find_subsets(self, given: Input, options: SourceOptions) -> tuple[Subset, ...]:
        """Returns the subsets of an input folder.

        Args:
          given: Folder with a folder per subset, as SVHN's archives unpack; or one such folder itself, a subset
            named after the folder unless `wanted` names it. The wanted names may be in any case; without one, all
            subsets are read that are known by their name.
          options: Not used.

        Raises:
          UserError: There is nothing to read, or a wanted subset is missing.
        """
        folder, wanted = _as_path(given.place), given.wanted
        # By its annotations first: servers of the web have no folders.
        is_subset = (folder / FILE_NAME).is_file()
        if not is_subset and not folder.is_dir():
            raise UserError("The input must be a folder that exists.", folder)
        if is_subset:
            if len(wanted) > 1:
                raise UserError(f"{folder} is one subset: give it one name.", ",".join(wanted))
            found = {wanted[0] if wanted else folder.name.lower(): folder}
        else:
            found = _folders_of_subsets(folder, wanted)
        check_subset_names(tuple(found) if wanted else ())
        return tuple(_describe(name, place) for name, place in found.items())

    def unread(self, given: Input, subsets: tuple[Subset, ...], options: SourceOptions) -> tuple[str, ...]:
        """Returns the folders in an input folder that hold a digitStruct.mat and are in none of the subsets, sorted."""
        read = {subset.path for subset in subsets}
        folder = _as_path(given.place)
        # A subset is all that is read of its own folder, and servers of the web have no listing.
        if folder.is_remote and not folder.is_dir():
            return ()
        return tuple(str(place) for place in _annotated_folders(folder).values() if str(place) not in read)

    def read_annotations(
        self, subset: Subset, start: int, stop: int, digit_order: str, options: SourceOptions
    ) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries of digitStruct.mat; see `Source`.

        Raises:
          UserError: digitStruct.mat as a whole cannot be read.
        """
        from beam_jobs.sources.svhn import digit_struct

        place = Place(subset.path) / FILE_NAME
        with _named(place, subset.annotations_sha256) as (path, _):
            yield from digit_struct.read_annotations(path, subset.name, start, stop, digit_order)

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file.

        Raises:
          OSError: The picture is missing or cannot be read.
          UserError: The store as a whole cannot be read.
        """
        if is_remote(subset.path):
            return (Place(subset.path) / name).read_bytes()
        return filesystem.read_local(f"{subset.path}/{name}")

    def picture_places(self, subset: Subset, name: str) -> tuple[Place, ...]:
        """Returns the place of a picture's file; see `Source`."""
        return (Place(subset.path) / name,)


SOURCE = SvhnSource()


def _folders_of_subsets(folder: Place, wanted: tuple[str, ...]) -> dict[str, Place]:
    """Returns the folders in `folder` that are subsets, by name: the wanted ones, or all whose names are known."""
    present = _annotated_folders(folder)
    known = {name: present[name] for name in _SUBSETS if name in present}
    names = [name.lower() for name in wanted] or list(known)
    if not names:
        rule = f"The input must hold {FILE_NAME}, or folders that do: {', '.join(_PUBLISHED)}."
        rule += f" For validation: {', '.join(FOR_VALIDATION)}."
        rule += f" These hold it: {_listed(present)} (--subsets reads them)." if present else ""
        raise UserError(rule, folder)
    missing = [name for name in names if name not in present]
    if missing:
        rule = f"{folder} holds the subsets {_listed(present)}." if present else f"{folder} holds no subset."
        raise UserError(rule, ",".join(missing))
    # In the order of the names, so that the order of --subsets does not change the bytes.
    return {name: path for name, path in {**known, **present}.items() if name in names}


def _annotated_folders(folder: Place) -> dict[str, Place]:
    """Returns the folders in `folder` that hold digitStruct.mat, sorted, by their names in lower case.

    Raises:
      UserError: Two names differ in their case only.
    """
    found: dict[str, Place] = {}
    # Entries, whose kind is known: SVHN's extra has 200,000 pictures to skip.
    for place in (folder / entry.name for entry in folder.entries() if entry.is_folder):
        if (place / FILE_NAME).is_file():
            name = _name(place)
            if name.lower() in found:
                rule = f"The names of the subsets in {folder} must differ in more than their case."
                raise UserError(rule, f"{_name(found[name.lower()])}, {name}")
            found[name.lower()] = place
    return found


def _listed(present: dict[str, Place]) -> str:
    """Returns the names of the folders, the known ones in their order first."""
    return ", ".join(sorted(present, key=lambda name: (_SUBSETS.index(name) if name in _SUBSETS else 99, name)))


def _describe(name: str, folder: Place) -> Subset:
    """Returns the subset in `folder`."""
    from beam_jobs.sources.svhn import digit_struct

    with _named(folder / FILE_NAME) as (path, sha256):
        return Subset(name, str(folder), digit_struct.count_entries(path), sha256 or file_sha256(path))


@contextmanager
def _named(place: Place, sha256: str | None = None) -> Iterator[tuple[Path, str]]:
    """Yields the path of a digitStruct.mat, or of a copy that lasts as long as the process, and a remote one's SHA-256.

    Raises:
      UserError: One of the block, in which the name of the copy is replaced by that of the file.
    """
    if not place.is_remote:
        yield place.path, ""
        return
    path, found = place.kept_file(sha256)
    try:
        yield path, found
    except UserError as error:
        raise UserError(str(error).replace(str(path), str(place))) from error


def _as_path(place: Place) -> Place:
    """Returns a place as `pathlib` writes it if it is local: without `./` and double slashes."""
    return place if place.is_remote else Place(place.path)


def _name(place: Place) -> str:
    """Returns the name of a folder as it is listed: that of a link, not of what it leads to."""
    return place.name if place.is_remote else place.path.name
