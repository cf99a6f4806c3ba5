"""The answers of `predict` for photos: each batch decoded, read in boxes, as a whole, or where numbers are found."""

import argparse
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError, one_line
from tfrecords.files.ahead import read_ahead
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox
from tfrecords.interrupts import ending_at_once
from tfrecords.progress import print_line
from trainer.commands.predict_found import Drawings, found_rows
from trainer.lite.runtime import TENSORFLOW, choose_runtime, start_keras
from trainer.photo_reader import PhotoReader
from trainer.reader import Reader, cut_image, read_picture
from trainer.run.directory import Run
from trainer.scoring.prediction_output import prediction_json

LARGE = 500
"""Longest side, pixels, above which a picture without a box is warned of: 0.15 % of SVHN's training pictures."""
Batch = list[tuple[Path | str, BoundingBox | None]]
"""Photos, each with its box if that is given."""


@dataclass
class Answers:
    """What was read in photos.

    Attributes:
      rows: Rows to print.
      read: Number of photos that could be read.
      failed: Number of photos that could not.
      large: Number of large photos that were read as a whole.
      empty: Number of photos without a number.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    failed: int = 0
    large: int = 0
    empty: int = 0

    def add(self, other: "Answers") -> None:
        """Adds the numbers of photos, without the rows."""
        for name in ("read", "failed", "large", "empty"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Answering:
    """The models of a command, which are loaded with the first picture that can be read: never where there is none.

    Attributes:
      least: Confidence below which a number is refused; None to refuse none.
    """

    def __init__(self, args: argparse.Namespace, run: Run, finder: Run | None, least: float | None) -> None:
        """Takes what is asked for.

        Args:
          args: Options of `predict`.
          run: Run of the reader.
          finder: Run of the finder; None to read complete pictures, or boxes.
          least: Confidence below which a number is refused; None to refuse none.
        """
        self.least = least
        self._args, self._run = args, run
        self._pair = None if finder is None else functools.cache(functools.partial(self._load_pair, finder))
        self._drawings = Drawings(args.draw) if args.draw else None

    def answer(self, batch: Batch) -> Answers:
        """Returns what is read in photos, and prints an error for each that cannot be read.

        Raises:
          UserError: A model cannot be loaded.
          ModuleNotFoundError: No runtime is installed.
        """
        return self._read(batch) if self._pair is None else self._find(batch, self._pair)

    @functools.cached_property
    def _reader(self) -> Reader:
        runtime = self._start(self._run)
        return Reader(self._run, runtime)

    def _load_pair(self, finder: Run) -> PhotoReader:
        runtime = self._start(finder)
        return PhotoReader.load(finder, self._reader, runtime)

    def _start(self, run: Run) -> str:
        """Returns the runtime of a model, and imports it."""
        runtime = choose_runtime(run, self._args.runtime)
        if runtime == TENSORFLOW:
            # TensorFlow, whose import takes seconds, does not end at an exception.
            with ending_at_once():
                start_keras(run)
        return runtime

    def _read(self, batch: Batch) -> Answers:
        """Reads photos in their boxes, or as a whole."""
        names, images, large = [], [], 0
        for name, box, picture in _pictures(batch):
            try:
                boxes = [box] if box else []
                images.append(cut_image(picture, boxes, self._run.crop, self._run.image_shape[2], name))
            except UserError as error:
                print_line(f"error: {one_line(error)}")
                continue
            large += box is None and max(picture.shape) > LARGE
            names.append(name)
        if not images:
            return Answers(failed=len(batch))
        predictions = self._reader.predict(np.stack(images))
        rows = [prediction_json(name, predictions, index, self.least) for index, name in enumerate(names)]
        return Answers(rows, len(names), len(batch) - len(names), large, predictions.texts.count(""))

    def _find(self, batch: Batch, pair: Callable[[], PhotoReader]) -> Answers:
        """Finds the numbers in photos, reads and draws them."""
        answers, is_all = Answers(), self._args.all
        for name, _, picture in _pictures(batch):
            numbers = pair().read(picture, self._args.rotate)
            answers.rows += found_rows(name, numbers, is_all, self.least)
            answers.read += 1
            answers.empty += not numbers
            if self._drawings:
                self._drawings.write(name, picture, numbers if is_all else numbers[:1])
        answers.failed = len(batch) - answers.read
        return answers


def _pictures(batch: Batch) -> Iterator[tuple[str, BoundingBox | None, NDArray[np.uint8]]]:
    """Yields name, box and pixels of each photo that can be read, and prints an error for each other one."""
    # Pictures at addresses are read several at once.
    for (path, box), read in read_ahead(batch, lambda pair: read_picture(Place(pair[0])), _is_far):
        try:
            # A name that is not UTF-8 cannot be printed.
            yield str(path).encode(errors="backslashreplace").decode(), box, read()
        except (UserError, OSError) as error:
            print_line(f"error: {one_line(error)}")


def _is_far(pair: tuple[Path | str, BoundingBox | None]) -> bool:
    """Returns whether a picture is at an address."""
    return "://" in str(pair[0]) and not isinstance(pair[0], Path)
