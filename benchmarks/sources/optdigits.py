"""optdigits.tra: `pandas.read_csv` with its conversion to uint8 images and texts, and ours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from beam_jobs.sources import optdigits
from benchmarks.sources._read import read_all

_PIXELS = 64


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Writes a file of rows and returns the ways to read it, each of which returns the number of labels.

    Args:
      folder: Folder to write into.
      entries: Number of pictures.
    """
    path = folder / "optdigits.tra"
    random = np.random.default_rng(0)
    rows = np.hstack([random.integers(0, 17, (1000, _PIXELS)), random.integers(0, 10, (1000, 1))])
    lines = [",".join(map(str, row)) + "\n" for row in rows.tolist()]
    with path.open("w") as file:
        for start in range(0, entries, len(lines)):
            file.writelines(lines[: entries - start])

    def by_pandas() -> int:
        import pandas as pd

        table = pd.read_csv(path, header=None)
        table.iloc[:, :_PIXELS].to_numpy(np.uint8).reshape(-1, 8, 8)
        return len(table[_PIXELS].astype(str).to_list())

    def ours() -> int:
        optdigits._read.cache_clear()
        return sum(1 for _ in read_all(optdigits.SOURCE, path))

    return {"pandas.read_csv": by_pandas, "ours": ours}
