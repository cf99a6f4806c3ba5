"""A trained model that reads the numbers in pictures: what `predict` and `streetdigits.load` have in common.

A runtime, TensorFlow or ONNX Runtime, is imported with the first `Reader`, not with this module.
"""

import functools
import os
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import READ
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.images.formats import SUFFIXES
from trainer.input.photos import is_folder
from trainer.lite.runtime import LITE, TENSORFLOW, Outputs, choose_runtime, open_lite, start_keras
from trainer.pretrained import run_directory
from trainer.run.directory import Run
from trainer.run.stand_in import forget, shown
from trainer.scoring.calibration_file import read_calibration
from trainer.scoring.decode import Predictions, decode_predictions, mean_of_views

if TYPE_CHECKING:
    import keras

    from trainer.scoring.inference import Forward

Picture = str | PathLike[str] | bytes | NDArray[np.uint8]
"""Path or address of a picture file, its bytes, or its pixels: (height, width, 3) uint8 RGB, or 1 channel of grey."""
Box = tuple[float, float, float, float]
"""Left, top, width and height of a number in a picture, pixels."""


@dataclass(frozen=True)
class Prediction:
    """The number in a picture, as a model reads it.

    Attributes:
      text: Characters of the number; empty for no number, with an ellipsis at the end for a number that is longer than
        the longest that the model predicts.
      confidence: Probability that the whole number is right, 0..1, at the temperature of the run if it is calibrated;
        0 where numbers were looked for and none was found.
      digits: Digits in reading order, as indices into the alphabet of the model: each 0..9, unless it was trained on
        other characters.
      box: Where the number is; None where the complete picture was read.
      box_confidence: Probability of a number in the box, 0..1, if it was found; 1 for a box that was given, and for the
        complete picture.
    """

    text: str
    confidence: float
    digits: tuple[int, ...]
    box: Box | None = None
    box_confidence: float = 1.0


class Reader:
    """A trained model with its best weights.

    Attributes:
      run: Run that trained the model.
      calibration: Temperature of the confidences; None if the run has none.
      runtime: What computes predictions: `tensorflow` or `lite`.
    """

    def __init__(self, run: Run, runtime: str = TENSORFLOW) -> None:
        """Loads the model.

        Args:
          run: Run that trained it.
          runtime: One of `trainer.lite.runtime.RUNTIMES`.

        Raises:
          UserError: The model does not read numbers, the run has no weights, the runtime is not there, or Keras already
            runs on another backend than TensorFlow.
          ModuleNotFoundError: ONNX Runtime is needed and not installed.
        """
        if run.task != READ:
            raise UserError(f"{run.directory} must be the run of a model that can {READ} numbers.", run.config.model)
        self.runtime = choose_runtime(run, runtime)
        self.run = run
        self.calibration = read_calibration(run)
        self._outputs = open_lite(run) if self.runtime == LITE else self._keras_outputs()

    @functools.cached_property
    def model(self) -> "keras.Model":
        """The Keras model, which the runtime `lite` loads with its first use."""
        start_keras(self.run)
        from trainer.run.weights import load_model

        return load_model(self.run)

    @functools.cached_property
    def forward(self) -> "Forward":
        """Function from (batch, height, width, channels) uint8 images to the Keras model's outputs."""
        model = self.model
        from trainer.scoring.inference import make_forward

        return make_forward(model)

    def __repr__(self) -> str:
        height, width, _ = self.run.image_shape
        cut = f"reads numbers cut to {height} x {width} pixels"
        return f"<Reader {shown(self.run.directory)}: {self.run.config.model}, {cut}>"

    def read(self, picture: Picture, box: Box | None = None) -> Prediction:
        """Returns the number in a picture.

        Args:
          picture: Path or address of a picture file, its bytes, or its pixels: (height, width, 3) uint8 RGB, or 1
            channel of grey.
          box: Left, top, width and height of the number, in pixels; None if the picture shows it and little else.

        Raises:
          UserError: It is no picture, or the box has no area or lies outside it.
          OSError: The file cannot be read.
        """
        boxes = [] if box is None else [number_box(*box)]
        name = os.fspath(picture) if isinstance(picture, str | PathLike) else "picture"
        image = cut_image(picture_pixels(picture), boxes, self.run.crop, self.run.image_shape[2], name)
        return prediction_at(self.predict(image[None]), 0, box)

    def read_all(self, picture: Picture) -> list[Prediction]:
        """Returns the numbers in a picture, the most confident first: that of the complete picture, or none.

        Raises:
          UserError: It is no picture.
          OSError: The file cannot be read.
        """
        found = self.read(picture)
        return [found] if found.text else []

    def predict(self, images: NDArray[np.uint8], views: int = 1) -> Predictions:
        """Returns the predictions for images cut as the run's records.

        Args:
          images: (batch * views, height, width, channels) uint8, the views of a number one after the other.
          views: Images of a number, whose probabilities are averaged.
        """
        outputs = self._outputs(images)
        if views > 1:
            outputs = {name: mean_of_views(logits, views) for name, logits in outputs.items()}
        found = decode_predictions(outputs.get("length_logits"), outputs["digit_logits"], self.run.labels)
        return found.with_temperature(self.calibration.temperature) if self.calibration else found

    def _keras_outputs(self) -> Outputs:
        forward = self.forward
        return lambda images: {name: value.numpy() for name, value in forward(images).items()}


def prediction_at(predictions: Predictions, index: int, box: Box | None, box_confidence: float = 1.0) -> Prediction:
    """Returns one of a batch of predictions.

    Args:
      predictions: Predictions of a batch.
      index: Index of the image in the batch.
      box: Where the number is in the picture; None for the complete picture.
      box_confidence: Probability of a number there, 0..1.
    """
    digits = predictions.digits[index, : predictions.length[index]]
    confidence = float(predictions.confidence[index])
    return Prediction(predictions.texts[index], confidence, tuple(map(int, digits)), box, box_confidence)


def load_reader(run_or_name: str | PathLike[str], runtime: str = TENSORFLOW) -> Reader:
    """Returns the model of a run directory, local or at an address, or of a name: `pretrained` or `pretrained-mnist`.

    Args:
      run_or_name: Run directory or name.
      runtime: One of `trainer.lite.runtime.RUNTIMES`.

    Raises:
      UserError: There is no such run, it has no weights, or the runtime is not there.
      ModuleNotFoundError: ONNX Runtime is needed and not installed.
    """
    return Reader(find_run(run_or_name), runtime)


def find_run(run_or_name: str | PathLike[str]) -> Run:
    """Returns the run of a directory, local or at an address, of which its present state is read, or of a name.

    Raises:
      UserError: There is no such run.
    """
    name = os.fspath(run_or_name)
    if "://" in name:
        forget(Place(name))
    return Run.load(run_directory(name))


def number_box(left: float, top: float, width: float, height: float) -> BoundingBox:
    """Returns the box of a number.

    Args:
      left: First column, pixels; it may lie outside the picture.
      top: First row, pixels.
      width: Width, pixels.
      height: Height, pixels.

    Raises:
      UserError: The width or height is not above 0, or a value is not finite.
    """
    if not (width > 0 and height > 0 and np.isfinite([left, top, width, height]).all()):
        raise UserError("The box must have a width and height above 0.", f"{left:g},{top:g},{width:g},{height:g}")
    return BoundingBox(top, left, top + height, left + width)


def read_picture(file: Place) -> NDArray[np.uint8]:
    """Returns the pixels of a photo as viewers show it: (height, width, 3) uint8 RGB, which may be read-only.

    Raises:
      UserError: The file is not a picture.
      OSError: The file cannot be read.
    """
    from tfrecords.images.decode import decode_picture

    if not file.is_remote and is_folder(file.path):
        os.scandir(file.path).close()  # raises where the folder cannot be read
        raise UserError(f"{file}: The folder must hold pictures ({' '.join(sorted(SUFFIXES))}).")
    return decode_picture(file.read_bytes(), str(file))


def cut_image(
    picture: NDArray[np.uint8], boxes: list[BoundingBox], crop: CropSpec, channels: int, name: str = "picture"
) -> NDArray[np.uint8]:
    """Returns the model's image of a picture: (height, width, channels) uint8, cut out as for its records.

    Args:
      picture: Pixels, (height, width, 3) uint8 RGB.
      boxes: Box of the number; none for the complete picture.
      crop: How images are cut out of pictures.
      channels: Channels of the model's images: 3, or 1 for grey.
      name: Name of the picture in error messages.

    Raises:
      UserError: The box lies outside the picture.
    """
    from tfrecords.images.channels import to_channels
    from tfrecords.images.decode import evaluation_view

    try:
        return to_channels(evaluation_view(picture, boxes, crop), channels)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def read_image(file: Place, boxes: list[BoundingBox], crop: CropSpec, channels: int = 3) -> NDArray[np.uint8]:
    """Returns the model's image of a photo, as `cut_image` does of its pixels.

    Raises:
      UserError: The file is not a picture, or the box lies outside it.
      OSError: The file cannot be read.
    """
    return cut_image(read_picture(file), boxes, crop, channels, str(file))


def picture_pixels(picture: Picture) -> NDArray[np.uint8]:
    """Returns the pixels of a picture as viewers show it: (height, width, 3) uint8 RGB, which may be read-only.

    Raises:
      UserError: It is no picture.
      OSError: The file cannot be read.
    """
    from tfrecords.images.channels import to_channels
    from tfrecords.images.decode import decode_picture

    if isinstance(picture, str | PathLike):
        return read_picture(Place(os.fspath(picture)))
    if isinstance(picture, bytes):
        return decode_picture(picture, "picture")
    if not isinstance(picture, np.ndarray):
        raise UserError("A picture must be a path, bytes or an array of pixels.", type(picture).__name__)
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or picture.dtype != np.uint8:
        rule = "An array of pixels must be (height, width, 3) uint8, or have one channel."
        raise UserError(rule, f"{picture.shape} {picture.dtype}")
    return to_channels(picture, 3)
