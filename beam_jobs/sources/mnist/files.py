"""Files of MNIST in an input: which are there, and which subset each is."""

from collections.abc import Iterable
from dataclasses import dataclass

from beam_jobs.sources.base import CORRECTIONS, subset_of
from beam_jobs.sources.mnist.idx import IdxName, idx_name
from beam_jobs.sources.mnist.npz import subsets_of_npz
from beam_jobs.sources.mnist.table import layout
from beam_jobs.sources.pixels.parts import PREDICT, add_part
from beam_jobs.sources.pixels.rows import read_head
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_CSV = (".csv", ".csv.gz")
_NPZ = ".npz"
_IDX = {"images": "idx3", "labels": "idx1"}
_ALLOWED = (
    "idx files (train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-..., .gz or not), mnist.npz (x_train, "
    "y_train, x_test, y_test), or CSV (a label and the pixels of a square picture in a row)"
)


@dataclass(frozen=True)
class Part:
    """One subset of an input.

    Attributes:
      labels: File that holds the labels.
      images: File that holds the pixels; None if it is the same.
      array: Subset in an .npz file, as its arrays are named; empty for other files.
    """

    labels: Place
    images: Place | None = None
    array: str = ""

    @property
    def places(self) -> list[Place]:
        """Files of the subset."""
        return [self.labels, *([self.images] if self.images else [])]

    def __str__(self) -> str:
        return str(self.labels)


def find_parts(place: Place) -> tuple[dict[str, Part], bool]:
    """Returns the parts of an input by subset, and whether it is a file that can be only one subset.

    Raises:
      UserError: There is nothing that can be read.
    """
    if place.is_file():
        return _of_file(place)
    if not place.is_dir():
        raise UserError("The input must be a file or a folder that exists.", place)
    folder, names = _folder_with_files(place)
    found: dict[str, Part] = {}
    _add_idx(found, folder, names, None)
    for name in names:
        if name.lower().endswith(_NPZ):
            _add_npz(found, folder / name)
        elif name.lower().endswith(_CSV):
            _add_csv(found, folder / name, name, is_alone=False)
    if not found:
        raise UserError(f"The folder must hold {_ALLOWED}.", place)
    return found, False


def annotated_files(place: Place) -> list[str]:
    """Returns all files in a folder, and in its folders, that may hold labels, sorted: paths or addresses."""
    names = [] if place.is_file() else place.walk()
    return [str(place / name) for name in names if _is_known(name) and not _is_images(name)]


def _of_file(place: Place) -> tuple[dict[str, Part], bool]:
    """Returns the parts of a file, and whether it can be only one subset."""
    found: dict[str, Part] = {}
    name = place.name
    if name.lower().endswith(_NPZ):
        _add_npz(found, place)
        return found, False
    if idx_name(name):
        folder = place.parent
        _add_idx(found, folder, [entry.name for entry in folder.entries() if not entry.is_folder], name)
    elif name.lower().endswith(_CSV):
        _add_csv(found, place, name, is_alone=True)
    else:
        raise UserError(f"The input must be a folder or a file of {_ALLOWED}.", place)
    return found, True


def _folder_with_files(place: Place) -> tuple[Place, list[str]]:
    """Returns the folder to read, and the names of its known files: `place`, or else the one folder in it with any."""
    if names := _without_packed_twins(entry.name for entry in place.entries() if not entry.is_folder):
        return place, names
    folders: dict[str, list[str]] = {}
    for path in place.walk():
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    known = {folder: names for folder, each in folders.items() if (names := _without_packed_twins(each))}
    if len(known) > 1:
        rule = f"{place} must hold one folder of files that are known; give one of these as the input."
        raise UserError(rule, ", ".join(known))
    for folder, names in known.items():
        return place / folder, names
    return place, []


def _without_packed_twins(names: Iterable[str]) -> list[str]:
    """Returns the names that are known, sorted, without a .gz that is also there unpacked, as torchvision leaves it."""
    known = {name for name in names if _is_known(name)}
    return sorted(name for name in known if not (name.endswith(".gz") and name.removesuffix(".gz") in known))


def _is_known(path: str) -> bool:
    """Returns whether a file may be one of MNIST, by its name."""
    name = path.rpartition("/")[2]
    is_known = name.lower().endswith((_NPZ, *_CSV)) or idx_name(name) is not None
    return is_known and name not in CORRECTIONS


def _is_images(path: str) -> bool:
    """Returns whether a file is one of images alone, by its name."""
    found = idx_name(path.rpartition("/")[2])
    return found is not None and found.kind == "images"


def _add_idx(found: dict[str, Part], folder: Place, names: list[str], given: str | None) -> None:
    """Adds the pairs of idx files in a folder: all, or the one that a given file belongs to."""
    wanted = idx_name(given) if given else None
    pairs: dict[IdxName, dict[str, str]] = {}
    for name in _without_packed_twins(names):
        parsed = idx_name(name)
        if not parsed or (wanted and parsed[:2] != wanted[:2]):
            continue
        pair = pairs.setdefault(parsed._replace(kind=""), {})
        if parsed.kind in pair and given not in (name, pair[parsed.kind]):
            rule = f"{folder} must hold one file of {parsed.kind} for each subset."
            raise UserError(rule, f"{pair[parsed.kind]}, {name}")
        pair.setdefault(parsed.kind, name)
    if wanted and given:
        pairs[wanted._replace(kind="")][wanted.kind] = given
    for parsed, pair in pairs.items():
        for kind, other in (("images", "labels"), ("labels", "images")):
            if kind not in pair:
                example = pair[other].replace(f"{other}-{_IDX[other]}", f"{kind}-{_IDX[kind]}").replace(other, kind)
                rule = f"{folder / pair[other]} must have its {kind} next to it, in a file named alike: {example}."
                raise UserError(rule, "no such file")
        part = Part(folder / pair["labels"], folder / pair["images"])
        add_part(found, parsed.subset, part, str(part))


def _add_npz(found: dict[str, Part], place: Place) -> None:
    """Adds the subsets of an .npz file."""
    for subset in subsets_of_npz(place):
        add_part(found, subset, Part(place, array=subset), str(place))


def _add_csv(found: dict[str, Part], place: Place, name: str, is_alone: bool) -> None:
    """Adds a CSV file. One of two columns next to others is no pictures but a submission: an index and a label."""
    head = read_head(place)
    if head.columns <= 2 and not is_alone:
        return
    subset = PREDICT if layout(head, place).label is None else subset_of(name)
    add_part(found, subset, Part(place), str(place))
