"""A reader that finds the numbers in a picture first: what `streetdigits.load` returns of the package's weights."""

from os import PathLike

from trainer.lite.runtime import AUTO
from trainer.photo_reader import PhotoNumber, PhotoReader
from trainer.pretrained import DIRECTORY, FINDER, offered_finder
from trainer.reader import Box, Picture, Prediction, Reader, find_run, picture_pixels, prediction_at
from trainer.run.directory import Run

OWN = "auto"
"""In place of a finder: that of the package for its reader of house numbers, and none for other readers."""


class FindingReader(Reader):
    """A trained model with its best weights that reads numbers wherever they are in a picture.

    Attributes:
      photos: Finder and reader together.
    """

    def __init__(self, run: Run, finder: Run, runtime: str = AUTO) -> None:
        """Loads the reader of a run and the finder of another one.

        Args:
          run: Run of the reader.
          finder: Run of the finder.
          runtime: What computes the predictions of both, one of `trainer.lite.runtime.RUNTIMES`.

        Raises:
          UserError: A run is of a model of another kind, has no weights, or the runtime is not there.
          ModuleNotFoundError: ONNX Runtime is needed and not installed.
        """
        super().__init__(run, runtime)
        self.photos = PhotoReader.load(finder, self, runtime)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, found in pictures>"

    def read(self, picture: Picture, box: Box | None = None) -> Prediction:
        """Returns the surest number in a picture; without characters, and of confidence 0, where none was found.

        Args:
          picture: Path or address of a picture file, its bytes, or its pixels: (height, width, 3) uint8 RGB, or 1
            channel of grey.
          box: Left, top, width and height of the number, in pixels; None to find it.

        Raises:
          UserError: It is no picture, or the box has no area or lies outside it.
          OSError: The file cannot be read.
        """
        if box is not None:
            return super().read(picture, box)
        return next(iter(self.read_all(picture)), Prediction("", 0.0, ()))

    def read_all(self, picture: Picture) -> list[Prediction]:
        """Returns the numbers in a picture, the most confident first; none if there is none.

        Where no place was found, the complete picture is read: it may be the number and little else.

        Raises:
          UserError: It is no picture.
          OSError: The file cannot be read.
        """
        return [_as_prediction(number) for number in self.photos.read(picture_pixels(picture))]


def load(run_or_name: str | PathLike[str], finder: str | PathLike[str] | None = OWN, runtime: str = AUTO) -> Reader:
    """Returns the reader of a run or a name, which finds numbers where it has a finder.

    Args:
      run_or_name: Run directory, local or at an address, or a name: `pretrained` or `pretrained-mnist`.
      finder: Run directory of a finder, or its name; `OWN`, or None for none.
      runtime: One of `trainer.lite.runtime.RUNTIMES`.

    Raises:
      UserError: There is no such run, it has no weights, or the runtime is not there.
      ModuleNotFoundError: ONNX Runtime is needed and not installed.
    """
    run = find_run(run_or_name)
    if finder == OWN:
        has_own = run.directory == DIRECTORY and offered_finder() is not None
        finder = FINDER.name if has_own else None
    return Reader(run, runtime) if finder is None else FindingReader(run, find_run(finder), runtime)


def _as_prediction(number: PhotoNumber) -> Prediction:
    box = number.box
    place = None if box is None else (box.xmin, box.ymin, box.width, box.height)
    return prediction_at(number.predictions, number.index, place, number.box_confidence)
