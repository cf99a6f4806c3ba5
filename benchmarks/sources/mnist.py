"""MNIST as Kaggle's CSV: `pandas.read_csv` with its conversion to uint8 images and texts, and ours.

The pixels are a fifth strokes, as in MNIST, so that a row is as long as a genuine one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from beam_jobs.sources.mnist import source
from benchmarks.sources._read import read_all

_PIXELS = 784
_STROKES = 0.19


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes a CSV file of pictures and returns the ways to read it, each of which returns the number of labels.

    Args:
      folder: Folder to write into.
      entries: Number of pictures.
    """
    path = folder / "train.csv"
    write_rows(path, entries)

    def by_pandas() -> int:
        import pandas as pd

        table = pd.read_csv(path)
        table.drop(columns="label").to_numpy(np.uint8).reshape(-1, 28, 28)
        return len(table["label"].astype(str).to_list())

    def ours() -> int:
        source._read.cache_clear()
        return sum(1 for _ in read_all(source.SOURCE, path))

    return {"pandas.read_csv": by_pandas, "ours": ours}


def write_rows(path: Path, entries: int) -> None:
    """Writes rows of a label and random pixels, the same for the same number, with Kaggle's header."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join(["label", *(f"pixel{index}" for index in range(_PIXELS))]) + "\n")
        # 100 different rows, again and again: what a reader does is the same, and writing is fast.
        pixels = random.integers(0, 256, (100, _PIXELS)) * (random.random((100, _PIXELS)) < _STROKES)
        rows = [f"{index % 10}," + ",".join(map(str, row)) + "\n" for index, row in enumerate(pixels.tolist())]
        for start in range(0, entries, len(rows)):
            file.writelines(rows[: entries - start])
