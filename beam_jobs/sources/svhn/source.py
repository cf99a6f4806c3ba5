"""SVHN Format 1 as a `Source`: folders of pictures, each with a digitStruct.mat.

The folders are those of SVHN's archives (http://ufldl.stanford.edu/housenumbers/): train, test and extra.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from beam_jobs import filesystem
from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Source, Subset
from beam_jobs.sources.svhn import digit_struct
from beam_jobs.sources.svhn.digit_struct import FILE_NAME
from tfrecords.errors import UserError
from tfrecords.files.shards import file_sha256

_SUBSETS = ("train", "test", "extra")
_SUBSET_NAME = re.compile(r"[\w-]+")


class SvhnSource(Source):
    """Reader of SVHN Format 1."""

    packages = ("h5py",)

    def find_subsets(self, folder: Path, wanted: tuple[str, ...]) -> tuple[Subset, ...]:
        """Returns the subsets of an input folder.

        Args:
          folder: Folder with a folder per subset, as SVHN's archives unpack; or one such folder itself, a subset
            named after the folder unless `wanted` names it.
          wanted: Names of the subsets to read; empty for all.

        Raises:
          UserError: There is nothing to read, or a wanted subset is missing.
        """
        if not folder.is_dir():
            raise UserError("The input must be a folder that exists.", folder)
        if (folder / FILE_NAME).is_file():
            if len(wanted) > 1 or not all(map(_SUBSET_NAME.fullmatch, wanted)):
                rule = f"{folder} is one subset: give it one name, of letters, digits, - and _."
                raise UserError(rule, ",".join(wanted))
            found = {wanted[0] if wanted else folder.resolve().name.lower(): folder}
        else:
            found = _folders_of_subsets(folder, wanted)
        return tuple(_describe(name, path) for name, path in found.items())

    def read_annotations(self, subset: Subset, start: int, stop: int, digit_order: str) -> Iterator[Annotation]:
        """Yields the annotations of a range of entries of digitStruct.mat; see `Source`.

        Raises:
          UserError: digitStruct.mat as a whole cannot be read.
        """
        path = Path(subset.folder, FILE_NAME)
        return digit_struct.read_annotations(path, subset.name, start, stop, digit_order)

    def read_picture(self, subset: Subset, name: str) -> bytes:
        """Returns the bytes of a picture's file.

        Raises:
          OSError: The picture is missing or cannot be read.
        """
        return filesystem.read_local(f"{subset.folder}/{name}")


SOURCE = SvhnSource()


def _folders_of_subsets(folder: Path, wanted: tuple[str, ...]) -> dict[str, Path]:
    """Returns the folders in `folder` that are subsets, by name: the wanted ones, all if none is named."""
    present = {name: folder / name for name in _SUBSETS if (folder / name / FILE_NAME).is_file()}
    if not present:
        raise UserError(f"The input must hold {FILE_NAME}, or folders that do: {', '.join(_SUBSETS)}.", folder)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise UserError(f"{folder} holds the subsets {', '.join(present)}.", ",".join(missing))
    return {name: path for name, path in present.items() if not wanted or name in wanted}


def _describe(name: str, folder: Path) -> Subset:
    """Returns the subset in `folder`."""
    annotations = folder / FILE_NAME
    return Subset(name, str(folder), digit_struct.count_entries(annotations), file_sha256(annotations))
