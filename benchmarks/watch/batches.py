"""Labelled batches, drawn from a seed and put into an inbox in all the ways in which producers put them there."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct

MATLAB = "digitStruct.mat"
_HEIGHT, _DIGIT_WIDTH = 32, 14
"""Size of pictures and of digits in them, pixels: small, since it is the watcher that is measured."""
KINDS = ("renamed", "slow", "marked", "copy", "cut", "late", "corrections")
"""Ways to put a batch into an inbox: see `Producer`."""
_SHARES = (3, 3, 3, 1, 1, 2, 2)
_CUT_FOREVER = 0.4
"""Share of the cut annotations that nobody completes."""
Steps = Iterator[float]
"""Steps of a producer: it yields the seconds to wait before the next one."""


@dataclass
class Dropped:
    """What was dropped as one batch.

    Attributes:
      name: Name of the batch.
      kind: One of `KINDS`.
      texts: Number of each picture, by its name.
      same_as: Name of the batch that it is a copy of; its own name for an original.
      is_complete: Whether it will ever be complete.
      at: Clock reading at which it was complete, seconds; None until then.
    """

    name: str
    kind: str
    texts: dict[str, str] = field(default_factory=dict)
    same_as: str = ""
    is_complete: bool = True
    at: float | None = None


def draw_batch(folder: Path, rng: random.Random, pictures: int, scale: int = 1) -> dict[str, str]:
    """Writes pictures of noise and their digitStruct.mat into a new folder; returns the number of each picture.

    Args:
      folder: New folder.
      rng: Source of numbers and noise.
      pictures: Number of pictures.
      scale: Size of the pictures, in 32 pixels; those of more than 1 are compressed, as SVHN's are, which have 2 or 3.
    """
    folder.mkdir(parents=True)
    texts, boxes = {}, []
    for index in range(1, pictures + 1):
        text = "".join(rng.choices("0123456789", k=rng.choice((1, 2, 2, 3))))
        texts[f"{index}.png"] = text
        height, width = _HEIGHT * scale, (_DIGIT_WIDTH * len(text) + 12) * scale
        pixels = np.frombuffer(rng.randbytes(height * width * 3), np.uint8).reshape(height, width, 3)
        if scale > 1:
            pixels = pixels % 8 + np.arange(width, dtype=np.uint8)[:, np.newaxis]
        Image.fromarray(pixels).save(folder / f"{index}.png", compress_level=6 if scale > 1 else 0)
        places = ((_DIGIT_WIDTH * at + 6) * scale for at in range(len(text)))
        digits = zip(text, places, strict=True)
        boxes.append([DigitBox(int(digit) or 10, left, 6 * scale, 12 * scale, 20 * scale) for digit, left in digits])
    write_digit_struct(folder / MATLAB, list(texts), boxes)
    return texts


class Producer:
    """Drops batches into an inbox, each in one of `KINDS`, chosen by the seed.

    renamed: a hidden folder that gets its name when it is complete. slow: file by file in place, with stalls, also
    inside files. marked: in place, with `_SUCCESS` last. copy: an earlier batch under another name. cut: half of the
    annotations, and the rest later or never. late: one picture comes seconds after all else. corrections: a file of
    corrections of earlier batches.

    Attributes:
      dropped: All batches that were begun, by name.
    """

    def __init__(self, inbox: Path, work: Path, seed: int, clock: Callable[[], float]) -> None:
        """Takes an inbox, a folder on the same file system for what is drawn, a seed and the clock to note times by."""
        self.inbox, self._work, self._rng, self._clock = inbox, work, random.Random(seed), clock
        self.dropped: dict[str, Dropped] = {}
        inbox.mkdir(parents=True, exist_ok=True)

    def drop(self, kind: str | None = None, pictures: int | None = None) -> Steps:
        """Begins the next batch; returns its steps."""
        whole = [each for each in self.dropped.values() if each.at is not None and each.is_complete and each.texts]
        kind = kind or self._rng.choices(KINDS, _SHARES)[0]
        if kind in ("copy", "corrections") and len(whole) < 3:
            kind = "renamed"
        name = f"b{len(self.dropped):05d}-{kind}"
        found = self.dropped[name] = Dropped(name, kind, same_as=name)
        source = self._work / name
        if kind == "copy":
            original = self._rng.choice(whole)
            found.texts, found.same_as = original.texts, original.same_as
            shutil.copytree(self.inbox / original.name, source)
            (source / "_SUCCESS").unlink(missing_ok=True)
        elif kind == "corrections":
            source.mkdir(parents=True)
            (source / "corrections.jsonl").write_text(self._corrections(whole))
        else:
            found.texts = draw_batch(source, self._rng, pictures or self._rng.randint(4, 20))
        is_whole = kind in ("renamed", "copy", "corrections")
        return self._rename(found, source) if is_whole else self._write(found, source)

    def _corrections(self, whole: list[Dropped]) -> str:
        """Returns the content of a file of corrections: most with another text of the same length, some deletions."""
        lines = {}
        for _ in range(self._rng.randint(1, 4)):
            batch = self._rng.choice(whole)
            picture, text = self._rng.choice(list(batch.texts.items()))
            turned = "".join(self._rng.choices("0123456789", k=len(text)))
            line = {"action": "relabel", "text": turned} if self._rng.random() < 0.8 else {"action": "delete"}
            lines[f"{batch.name}/{picture}"] = line
        return "".join(json.dumps({"key": key, **line}) + "\n" for key, line in lines.items())

    def _rename(self, found: Dropped, source: Path) -> Steps:
        hidden = self.inbox / f".{found.name}"
        source.rename(hidden)
        yield self._rng.uniform(0, 0.5)
        hidden.rename(self.inbox / found.name)
        found.at = self._clock()

    def _write(self, found: Dropped, source: Path) -> Steps:
        """Writes a batch in place, file by file, as its kind says."""
        target = self.inbox / found.name
        target.mkdir()
        names = [*found.texts, MATLAB]
        self._rng.shuffle(names)
        last = {"late": self._rng.choice(list(found.texts)), "cut": MATLAB}.get(found.kind)
        found.is_complete = found.kind != "cut" or self._rng.random() >= _CUT_FOREVER
        for name in sorted(names, key=lambda name: name == last):
            data, half = (source / name).read_bytes(), 0
            if name == last or (found.kind == "slow" and self._rng.random() < 0.2):
                if found.kind != "late":
                    half = self._rng.randrange(len(data))
                    (target / name).write_bytes(data[:half])
                if not found.is_complete:
                    return
                yield self._rng.uniform(0.5, 4)
            with (target / name).open("ab") as stream:
                stream.write(data[half:])
            if found.kind == "slow":
                yield self._rng.uniform(0, 0.1)
        if found.kind == "marked":
            yield self._rng.uniform(0, 1)
            (target / "_SUCCESS").touch()
        found.at = self._clock()
        shutil.rmtree(source)
