"""Folders of pictures against scikit-learn's `load_files`, which lists files and classes without their content."""

from collections.abc import Callable
from pathlib import Path

from beam_jobs.sources import image_folder
from benchmarks.sources._read import read_all

_CLASSES = 100


def _ours(folder: Path) -> int:
    """Returns the number of annotations that the source yields."""
    image_folder.forget()
    return sum(1 for _ in read_all(image_folder.SOURCE, folder))


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
