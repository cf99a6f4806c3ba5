"""The table of export formats, and how an export is written: completely, checked against the model, or not at all."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_path
from tfrecords.images.crop import CropSpec

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-4
"""Largest allowed difference between a probability of an export and the model's. Measured: 2e-6."""
_IMAGES = 3
"""Number of images on which an export is compared with the model."""


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
      title: Name in messages.
      ending: Suffix of the output's name; empty for a folder.
      write: Function of (model, crop, output) that writes an export.
      predict: Function of (output, (batch, height, width, channels) uint8 images) that loads an export and returns
        its predictions by name.
      loading: Python code that loads an export as `reader`, with a placeholder {output!r}.
      needs: Modules that the format needs, of the extra `export`.
    """

    title: str
    ending: str
    write: Callable[[keras.Model, CropSpec, Path], None]
    predict: Callable[[Path, np.ndarray], dict[str, np.ndarray]]
    loading: str
    needs: tuple[str, ...] = ()

    def check_modules(self) -> None:
        """Imports the modules that the format needs.

        Raises:
          UserError: A module is not installed.
        """
        for name in self.needs:
            try:
                importlib.import_module(name)
            except ImportError as error:
                rule = f"The format {self.title} needs the module {name}: pip install 'streetdigits[export]'."
                raise UserError(rule, error) from error


def _later(module: str, name: str) -> Callable[..., Any]:
    """Returns a function of a module that is imported, and TensorFlow with it, when the function is called."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f"trainer.export.{module}"), name)(*arguments)

    return call


FORMATS = {
    "savedmodel": Format(
        "SavedModel",
        "",
        _later("saved_model", "write_saved_model"),
        _later("saved_model", "predict_saved_model"),
        'import tensorflow as tf; reader = tf.saved_model.load({output!r}).signatures["serving_default"]',
    ),
    "keras": Format(
        "Keras file",
        ".keras",
        lambda model, _, output: _later("files", "write_keras")(model, output),
        _later("files", "predict_keras"),
        "import keras, streetdigits; reader = keras.models.load_model({output!r})",
    ),
    "h5": Format(
        "Legacy Keras file",
        ".h5",
        lambda model, _, output: _later("files", "write_h5")(model, output),
        _later("files", "predict_keras"),
        "import keras, streetdigits; reader = keras.models.load_model({output!r}, compile=False)",
    ),
    "tflite": Format(
        "LiteRT file",
        ".tflite",
        lambda model, _, output: _later("files", "write_tflite")(model, output),
        _later("files", "predict_tflite"),
        "from ai_edge_litert.interpreter import Interpreter; "
        'reader = Interpreter({output!r}).get_signature_runner("serving_default")',
        ("ai_edge_litert.interpreter",),
    ),
    "onnx": Format(
        "ONNX file",
        ".onnx",
        lambda model, _, output: _later("files", "write_onnx")(model, output),
        _later("files", "predict_onnx"),
        "import onnxruntime; reader = onnxruntime.InferenceSession({output!r})",
        ("onnx", "tf2onnx", "onnxruntime"),
    ),
}
"""Export formats by the name that `--format` takes."""


def export_model(kind: Format, model: keras.Model, crop: CropSpec, output: Path) -> float:
    """Writes an export atomically, once its predictions equal the model's.

    Args:
      kind: Format of the export.
      model: Trained model.
      crop: How the model's images are cut out of pictures.
      output: File or folder to write; an existing one is replaced.

    Returns:
      Largest difference between a probability of the export and the model's.

    Raises:
      UserError: The predictions differ by more than `TOLERANCE`.
      OSError: The export cannot be written.
    """
    with atomic_path(output, sole_writer=True) as temporary:
        kind.write(model, crop, temporary)
        difference = largest_difference(kind, model, temporary)
        # Not `>`, which is false for NaN.
        if not difference <= TOLERANCE:
            rule = f"{kind.title} must predict as the model does, within {TOLERANCE:g}: {model.name} cannot be"
            raise UserError(f"{rule} exported in this format.", f"a difference of {difference:.2g}")
    return difference


def largest_difference(kind: Format, model: keras.Model, output: Path) -> float:
    """Returns the largest difference between a probability of an export and the model's, on images of noise.

    Args:
      kind: Format of the export.
      model: Model that was exported.
      output: File or folder of the export.

    Returns:
      The difference; NaN if the export predicts a NaN.
    """
    from trainer.export.files import predict_model

    shape = (_IMAGES, *model.input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected, received = predict_model(model, images), kind.predict(output, images)
    names = ("length_probabilities", "digit_probabilities", "confidence")
    return float(np.max([np.abs(expected[name] - received[name]).max() for name in names]))
