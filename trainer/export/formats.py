"""The table of export formats, and how an export is written: completely, checked against the model, or not at all."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_path
from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels

if TYPE_CHECKING:
    import keras

    from trainer.photo_reader import PhotoReader

TOLERANCE = 1e-4
"""Largest allowed difference between a probability of an export and the model's. Measured: 2e-6."""
_IMAGES = 3
"""Number of images on which an export is compared with the model."""

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Expected and received predictions by name."""
Compare = Callable[["keras.Model", CropSpec, Path, float], Pairs]
Ask = Callable[[Path, Sequence[bytes]], list[dict[str, np.ndarray]]]
"""Function of (output, contents of picture files) that loads an export, and returns its outputs for each picture."""


def compare_on_noise(predict: Callable[[Path, np.ndarray], dict[str, np.ndarray]]) -> Compare:
    """Returns a function that compares an export with its model on images of noise.

    Args:
      predict: Function of (output, (batch, height, width, channels) uint8 images) that loads an export and returns
        its predictions by name.
    """

    def compare(model: keras.Model, _: CropSpec, output: Path, temperature: float) -> Pairs:
        from trainer.export.files import predict_model

        images = np.random.default_rng(0).integers(0, 256, (_IMAGES, *model.input_shape[1:]), np.uint8)
        expected, received = predict_model(model, images, temperature), predict(output, images)
        return {name: (values, received[name]) for name, values in expected.items()}

    return compare


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
      title: Name in messages.
      ending: Suffix of the output's name; empty for a folder.
      write: Function of (model, crop, labels, output, temperature) that writes an export.
      compare: Function of (model, crop, output, temperature) that loads an export and returns the model's predictions
        and its own.
      loading: Python code that loads an export as `reader`, with a placeholder {output!r}.
      needs: Modules that the format needs, of the extra `export`.
      other_endings: Suffixes that name the format too.
      has_logits: Whether an export returns logits, which no temperature divides, instead of probabilities.
      write_photos: Function of (photo reader, output) that writes an export of a finder and a reader together; None for
        a format of one model.
      ask_photos: Function that asks such an export.
    """

    title: str
    ending: str
    write: Callable[[keras.Model, CropSpec, Labels, Path, float], None]
    compare: Compare
    loading: str
    needs: tuple[str, ...] = ()
    other_endings: tuple[str, ...] = ()
    has_logits: bool = False
    write_photos: Callable[[PhotoReader, Path], None] | None = None
    ask_photos: Ask | None = None

    @property
    def endings(self) -> tuple[str, ...]:
        """Suffixes of an output's name, the usual one first."""
        return (self.ending, *self.other_endings)

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
        _later("compare_pictures", "compare_on_pictures"),
        'import tensorflow as tf; reader = tf.saved_model.load({output!r}).signatures["serving_default"]',
        write_photos=_later("photo_files", "write_photo_saved_model"),
        ask_photos=_later("photo_files", "ask_photo_saved_model"),
    ),
    "keras": Format(
        "Keras file",
        ".keras",
        lambda model, _, __, output, ___: _later("files", "write_keras")(model, output),
        compare_on_noise(_later("files", "predict_keras")),
        "import keras, streetdigits; reader = keras.models.load_model({output!r})",
        has_logits=True,
    ),
    "h5": Format(
        "Legacy Keras file",
        ".h5",
        lambda model, _, __, output, ___: _later("files", "write_h5")(model, output),
        compare_on_noise(_later("files", "predict_keras")),
        "import keras, streetdigits; reader = keras.models.load_model({output!r}, compile=False)",
        other_endings=(".hdf5",),
        has_logits=True,
    ),
    "tflite": Format(
        "LiteRT file",
        ".tflite",
        lambda model, _, __, output, temperature: _later("files", "write_tflite")(model, output, temperature),
        compare_on_noise(_later("files", "predict_tflite")),
        "from ai_edge_litert.interpreter import Interpreter; "
        'reader = Interpreter({output!r}).get_signature_runner("serving_default")',
        ("ai_edge_litert.interpreter",),
        write_photos=_later("photo_files", "write_photo_tflite"),
        ask_photos=_later("photo_files", "ask_photo_tflite"),
    ),
    "onnx": Format(
        "ONNX file",
        ".onnx",
        lambda model, _, labels, output, temperature: _later("files", "write_onnx")(model, labels, output, temperature),
        compare_on_noise(_later("files", "predict_onnx")),
        "import onnxruntime; reader = onnxruntime.InferenceSession({output!r})",
        ("onnx", "tf2onnx", "onnxruntime"),
        write_photos=_later("photo_files", "write_photo_onnx"),
        ask_photos=_later("photo_files", "ask_photo_onnx"),
    ),
    "graph": Format(
        "Frozen graph",
        ".pb",
        lambda model, _, __, output, temperature: _later("frozen_graph", "write_graph")(model, output, temperature),
        compare_on_noise(_later("frozen_graph", "predict_graph")),
        'import tensorflow as tf; graph = tf.compat.v1.GraphDef.FromString(open({output!r}, "rb").read()); reader = '
        'tf.function(lambda image: tf.graph_util.import_graph_def(graph, {{"image": image}}, ["length:0", "digits:0", '
        '"confidence:0", "length_probabilities:0", "digit_probabilities:0"]))',
    ),
}
"""Export formats by the name that `--format` takes."""


def export_model(
    kind: Format, model: keras.Model, crop: CropSpec, labels: Labels, output: Path, temperature: float = 1.0
) -> float:
    """Writes an export atomically, once its predictions equal the model's.

    Args:
      kind: Format of the export.
      model: Trained model.
      crop: How the model's images are cut out of pictures.
      labels: Numbers that the model predicts.
      output: File or folder to write; an existing one is replaced.
      temperature: Divisor of the logits in the probabilities; formats of logits leave it out.

    Returns:
      Largest difference between a probability of the export and the model's.

    Raises:
      UserError: The predictions differ by more than `TOLERANCE`, or the export cannot be written.
      OSError: The export cannot be written.
    """
    temperature = 1.0 if kind.has_logits else temperature
    with atomic_path(output, sole_writer=True) as temporary:
        _write(lambda: kind.write(model, crop, labels, temporary, temperature), output)
        difference = largest_difference(kind.compare(model, crop, temporary, temperature))
        # Not `>`, which is false for NaN.
        if not difference <= TOLERANCE:
            rule = f"{kind.title} must predict as the model does, within {TOLERANCE:g}: {model.name} cannot be"
            raise UserError(f"{rule} exported in this format.", f"a difference of {difference:.2g}")
    return difference


def export_photo_reader(kind: Format, photo_reader: PhotoReader, output: Path) -> tuple[float, int]:
    """Writes an export of a finder and a reader atomically, once it reads photos as they do.

    Args:
      kind: Format of the export, one that can hold both.
      photo_reader: Finder, of a run, and reader.
      output: File or folder to write; an existing one is replaced.

    Returns:
      Largest difference between a confidence of the export and theirs, and the number of numbers that were compared.

    Raises:
      UserError: The export reads a photo otherwise, or it cannot be written.
      OSError: The export cannot be written.
    """
    from trainer.export.compare_photos import compare_on_photos

    write, ask = kind.write_photos, kind.ask_photos
    if write is None or ask is None:
        raise UserError(f"A finder and a reader together must be exported as {photo_formats()}.", kind.title)
    with atomic_path(output, sole_writer=True) as temporary:
        _write(lambda: write(photo_reader, temporary), output)
        return compare_on_photos(photo_reader, functools.partial(ask, temporary), kind.title, TOLERANCE)


def photo_formats() -> str:
    """Returns the names of the formats that hold a finder and a reader together, for messages."""
    *names, last = (name for name, kind in FORMATS.items() if kind.write_photos)
    return f"{', '.join(names)} or {last}"


def _write(write: Callable[[], None], output: Path) -> None:
    """Writes an export.

    Raises:
      UserError: TensorFlow cannot write it.
    """
    import tensorflow as tf

    try:
        write()
    except tf.errors.OpError as error:
        # After the operation's name and the file's: "{{function_node ...}} ...; File too large [Op:SaveV2]".
        cause = error.message.partition("\n")[0].rpartition("; ")[2].partition(" [Op:")[0]
        raise UserError(f"{output} cannot be written.", cause) from error


def largest_difference(pairs: Pairs) -> float:
    """Returns the largest difference between expected and received probabilities; NaN if one of them is NaN."""
    names = ("length_probabilities", "digit_probabilities", "confidence")
    return float(np.max([np.abs(np.subtract(*pairs[name])).max() for name in names]))
