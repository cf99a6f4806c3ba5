"""Folders of pictures against scikit-learn's `load_files`, which lists files and classes without their content."""

from collections.abc import Callable
from pathlib import Path

from beam_jobs.sources import image_folder
from beam_jobs.sources.base import Input, SourceOptions
from tfrecords.files.place import Place

_RANGE = 4000
_CLASSES = 100


def _ours(folder: Path) -> int:
    """Returns the number of annotations that the source yields."""
    image_folder.forget()
    options = SourceOptions()
    count = 0
    for subset in image_folder.SOURCE.find_subsets(Input(Place(folder)), options):
        for start in range(0, subset.entries, _RANGE):
            rows = image_folder.SOURCE.read_annotations(subset, start, start + _RANGE, "left", options)
            count += sum(1 for _ in rows)
    return count


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Makes `entries` empty pictures in folders of classes, and returns the ways to list them with their labels."""
    from sklearn.datasets import load_files

    pictures = folder / "pictures"
    for label in range(_CLASSES):
        (pictures / f"{label:04d}").mkdir(parents=True)
    for index in range(entries):
        (pictures / f"{index % _CLASSES:04d}" / f"{index:06d}.png").touch()
    return {
        "sklearn.datasets.load_files": lambda: len(load_files(pictures, load_content=False, shuffle=False).filenames),
        "ours": lambda: _ours(pictures),
    }
