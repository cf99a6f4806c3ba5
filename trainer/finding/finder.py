"""A trained model that finds the numbers in pictures. A runtime is imported with the first `Finder`."""

import functools
import json
from os import PathLike, fspath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from trainer.finding.boxes import Found, select
from trainer.finding.scores import FIXED_THRESHOLD
from trainer.lite.runtime import BOXES, CONFIDENCE, LITE, TENSORFLOW, Outputs, choose_runtime, open_lite, start_keras
from trainer.pretrained import run_directory
from trainer.run.directory import HISTORY, Run
from trainer.run.stand_in import shown, stand_in_of

if TYPE_CHECKING:
    import keras


class Finder:
    """A trained model with its best weights.

    Attributes:
      run: Run that trained the model.
      canvas: Height and width of the images that pictures are fitted into, pixels.
      threshold: Confidence from which a box is a number.
      runtime: What computes predictions: `tensorflow` or `lite`.
    """

    def __init__(self, run: Run, threshold: float | None = None, runtime: str = TENSORFLOW) -> None:
        """Loads the model.

        Args:
          run: Run that trained it.
          threshold: Confidence from which a box is a number; None takes that of the best F1 on the validation split.
          runtime: One of `trainer.lite.runtime.RUNTIMES`.

        Raises:
          UserError: The model does not find numbers, the run has no weights, or the runtime is not there.
          ModuleNotFoundError: ONNX Runtime is needed and not installed.
        """
        check_finds(run)
        self.runtime = choose_runtime(run, runtime)
        self.run, self.canvas = run, run.image_shape[0]
        self.threshold = run_threshold(run) if threshold is None else threshold
        self._outputs = open_lite(run) if self.runtime == LITE else self._keras_outputs()

    @functools.cached_property
    def model(self) -> "keras.Model":
        """The Keras model, which the runtime `lite` loads with its first use."""
        start_keras(self.run)
        from trainer.run.weights import load_model

        return load_model(self.run)

    def __repr__(self) -> str:
        return f"<Finder {shown(self.run.directory)}: {self.run.config.model}, in {self.canvas} x {self.canvas} pixels>"

    def find(self, picture: NDArray[np.uint8]) -> list[Found]:
        """Returns the numbers in a picture, the most confident first, with boxes in pixels of the picture.

        Args:
          picture: Pixels, (height, width, 3) uint8 RGB, or 1 channel of grey.
        """
        from tfrecords.images.channels import to_channels
        from tfrecords.images.fit import fit_to_canvas

        image, scale, content = fit_to_canvas(to_channels(picture, self.run.image_shape[2]), self.canvas)
        found = self._outputs(image[None])
        return select(found[BOXES][0], found[CONFIDENCE][0], content, self.threshold, scale)

    def _keras_outputs(self) -> Outputs:
        model = self.model
        from trainer.finding.inference import make_peaks

        find = make_peaks(model)
        return lambda images: dict(zip((BOXES, CONFIDENCE), (part.numpy() for part in find(images)), strict=True))


def check_finds(run: Run) -> None:
    """Raises a UserError if the model of a run does not find numbers."""
    if run.task != FIND:
        raise UserError(f"{run.directory} must be the run of a model that can {FIND} numbers.", run.config.model)


def run_threshold(run: Run) -> float:
    """Returns the confidence of the best F1 on the validation split, in the epoch whose weights a run keeps.

    Without a validation split, or a history, it is `FIXED_THRESHOLD`.
    """
    stand_in_of(run.directory).fetch(HISTORY)
    path = run.directory / HISTORY
    if not path.is_file():
        return FIXED_THRESHOLD
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if run.config.keep == "best":
            lines.sort(
                key=lambda line: (line["validation_average_precision"], -line["validation_loss"], -line["epoch"])
            )
        return float(lines[-1]["validation_threshold"])
    except (ValueError, LookupError, TypeError):
        return FIXED_THRESHOLD


def load_finder(run_or_name: "str | PathLike[str]", threshold: float | None = None) -> Finder:
    """Returns the model of a run directory, local or at an address, or of weights that come with the package.

    Raises:
      UserError: There is no such run, it does not find numbers, or it has no weights.
    """
    return Finder(Run.load(run_directory(fspath(run_or_name))), threshold)
