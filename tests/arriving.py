"""Batches of small pictures as SVHN lays them out, and an inbox that reads them at once, for tests of `watch`."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from beam_jobs.watch.batch import Batch, subset_name
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Ledger
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def drop(inbox: Path, name: str, pictures: int = 3, seed: int = 0, missing: int = 0) -> Path:
    """Writes a batch in the inbox under a hidden name, and renames it.

    Args:
      inbox: Folder of the inbox.
      name: Name of the batch.
      pictures: Number of its pictures.
      seed: Random seed of its pixels.
      missing: Number of pictures that are named, and not there.
    """
    hidden = inbox / f".{name}"
    hidden.mkdir(parents=True)
    rng = np.random.default_rng([seed, *name.encode()])
    names = [f"{index + 1}.png" for index in range(pictures)]
    for each in names[missing:]:
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(hidden / each, compress_level=1)
    labels = rng.integers(1, 11, pictures).tolist()
    write_digit_struct(hidden / "digitStruct.mat", names, [[DigitBox(label, 8, 4, 9, 15)] for label in labels])
    return hidden.rename(inbox / name)


def drop_table(inbox: Path, name: str, texts: Sequence[str]) -> Path:
    """Writes a batch that is a CSV without boxes and its pictures, one for each text.

    Args:
      inbox: Folder of the inbox.
      name: Name of the batch.
      texts: Numbers; empty for a picture without one.
    """
    folder = inbox / name
    folder.mkdir(parents=True)
    lines = ["file_name,text"]
    for index, text in enumerate(texts):
        Image.fromarray(np.full((24, 32, 3), 7 * index, np.uint8)).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{text}")
    (folder / "labels.csv").write_text("\n".join([*lines, ""]))
    return folder


class SimpleInbox:
    """An inbox of folders in which each batch is ready as soon as it is there.

    Attributes:
      finished: Names of the batches that were put away.
      looks: Number of looks.
    """

    def __init__(self, place: Path, config: PrepareConfig) -> None:
        """Takes the folder."""
        self._place, self._config = place, config
        self.finished: list[str] = []
        self.looks = 0

    def poll(self, ledger: Ledger, most: int) -> Arrivals:
        """Returns what is there."""
        self.looks += 1
        ready: list[Batch] = []
        for path in sorted(self._place.glob("[!._]*")):
            if path.name in ledger.accepted or sum(batch.entries for batch in ready) >= most:
                continue
            batch = self.read(path.name)
            if batch.stamp not in ledger.refused.get(path.name, set()):
                ready.append(batch)
        return Arrivals(ready)

    def difference(self, batch: Batch, *, thorough: bool = False) -> str:
        """Compares digests."""
        try:
            found = self.read(batch.name)
        except (OSError, UserError):
            return "It is gone."
        return "" if found.digest == batch.digest else "Its pictures are others."

    def finish(self, batch: Batch) -> None:
        """Notes it."""
        self.finished.append(batch.name)

    def read(self, name: str) -> Batch:
        """Returns a batch as it is now."""
        folder = self._place / name
        found = load_source(self._config.source).find_subsets(Input(Place(folder)), self._config.reading)
        subsets = [replace(each, name=subset_name(name, each.name, len(found) == 1)) for each in found]
        digest = _digest(folder, [each.annotations_sha256 for each in found])
        return Batch(name, digest, digest, subsets)


def _digest(folder: Path, parts: Sequence[str]) -> str:
    sizes = sorted(f"{path.name} {path.stat().st_size}" for path in folder.iterdir())
    return hashlib.sha256("\n".join([*parts, *sizes]).encode()).hexdigest()
