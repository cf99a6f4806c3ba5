"""python -m trainer export: a trained model for serving, for phones, for other runtimes."""

import argparse
import importlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.images.crop import CropSpec
from trainer.export.files import (
    answers_of,
    ask_keras,
    ask_onnx,
    ask_tflite,
    write_h5,
    write_keras,
    write_onnx,
    write_tflite,
)
from trainer.export.saved_model import ask_saved_model, write_saved_model
from trainer.pretrained import chosen_run
from trainer.run.weights import load_model

EPILOG = """\
examples:
  for TensorFlow Serving, a folder that takes picture files (see docs/serving.md):
    python -m trainer export --run-dir runs/first --output models/reader/1
  one file, of the format that its ending names:
    python -m trainer export --run-dir runs/first --output reader.onnx

formats:
  savedmodel  `pictures` (batch,) of PNG, JPEG, GIF or BMP bytes, any size, each the number and little else; the
              signature with_boxes takes `boxes` (batch, 4) too: left, top, width, height of each number in pixels
  tflite      `image` (batch, height, width, 3) uint8, RGB, already cut; needs ai-edge-litert
  onnx        the same; needs onnx, tf2onnx and onnxruntime
  keras, h5   the Keras model itself: (batch, height, width, 3) 0..255, not normalised, to two tensors of logits;
              h5 is Keras's legacy format, for tools that read nothing else

SavedModel, tflite and onnx return length, digits, confidence, length_probabilities and digit_probabilities, a
SavedModel the number as text too. Before an export gets its name it is loaded and its answers are compared with
the model's.
"""

TOLERANCE = 1e-4
"""Most that a probability of an export may differ from the model's. Measured: 2e-6."""
_PICTURES = 3


@dataclass(frozen=True)
class Format:
    """A kind of export.

    Attributes:
      title: as people call it.
      ending: of the output's name; none for a folder.
      write: (model, crop, output): writes it.
      ask: (output, (batch, height, width, channels) uint8) to its answers: loads it anew.
      loading: Python that loads it as `reader`, with {output} in it.
      needs: modules of the extra `export`.
    """

    title: str
    ending: str
    write: Callable[[keras.Model, CropSpec, Path], None]
    ask: Callable[[Path, np.ndarray], dict[str, np.ndarray]]
    loading: str
    needs: tuple[str, ...] = ()


FORMATS = {
    "savedmodel": Format(
        "SavedModel",
        "",
        write_saved_model,
        ask_saved_model,
        'import tensorflow as tf; reader = tf.saved_model.load("{output}").signatures["serving_default"]',
    ),
    "keras": Format(
        "Keras file",
        ".keras",
        lambda model, _, output: write_keras(model, output),
        ask_keras,
        'import keras, trainer.models; reader = keras.models.load_model("{output}")',
    ),
    "h5": Format(
        "Legacy Keras file",
        ".h5",
        lambda model, _, output: write_h5(model, output),
        ask_keras,
        'import keras, trainer.models; reader = keras.models.load_model("{output}", compile=False)',
    ),
    "tflite": Format(
        "LiteRT file",
        ".tflite",
        lambda model, _, output: write_tflite(model, output),
        ask_tflite,
        "from ai_edge_litert.interpreter import Interpreter; "
        'reader = Interpreter("{output}").get_signature_runner("serving_default")',
        ("ai_edge_litert.interpreter",),
    ),
    "onnx": Format(
        "ONNX file",
        ".onnx",
        lambda model, _, output: write_onnx(model, output),
        ask_onnx,
        'import onnxruntime; reader = onnxruntime.InferenceSession("{output}")',
        ("onnx", "tf2onnx", "onnxruntime"),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--run-dir", help="of a trained model; without it, the weights that come with the package")
    parser.add_argument(
        "--format", choices=list(FORMATS), help="of the export; by default as --output ends, else a SavedModel"
    )
    parser.add_argument("--output", type=Path, required=True, help="file to make; a folder for a SavedModel")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands in the output")


def run(args: argparse.Namespace) -> int:
    """Exports the model; the output appears whole or not at all."""
    endings = {kind.ending: name for name, kind in FORMATS.items()}
    name = args.format or endings.get(args.output.suffix, "savedmodel")
    kind = FORMATS[name]
    _check_output(args.output, kind, args.overwrite)
    _check_modules(kind)
    run_ = chosen_run(args.run_dir)
    model = load_model(run_)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays, since Keras chooses its format by it.
    temporary = args.output.with_name(f".{args.output.name}.{os.getpid()}.partial{kind.ending}")
    try:
        kind.write(model, run_.crop, temporary)
        difference = largest_difference(kind, model, temporary)
        if not difference <= TOLERANCE:
            rule = f"{kind.title} must answer as the model does, within {TOLERANCE:g}: {run_.config.model} cannot be"
            raise UserError(f"{rule} exported in this format.", f"a difference of {difference:.2g}")
        _publish(temporary, args.output)
    finally:
        _remove(temporary)
    size = sum(path.stat().st_size for path in (args.output, *args.output.rglob("*")) if path.is_file()) / 1e6
    print(f"{kind.title} of {run_.config.model} ({size:.1f} MB) in {args.output}; answers within {difference:.0e}")
    print(f"Load it with: {kind.loading.format(output=args.output)}")
    return 0


def largest_difference(kind: Format, model: keras.Model, output: Path) -> float:
    """Returns the most by which a probability of an export differs from the model's, on noise; NaN where one is."""
    shape = (_PICTURES, *model.input_shape[1:])
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected, received = answers_of(model, pictures), kind.ask(output, pictures)
    names = ("length_probabilities", "digit_probabilities", "confidence")
    return float(np.max([np.abs(expected[name] - received[name]).max() for name in names]))


def _check_output(output: Path, kind: Format, overwrite: bool) -> None:
    if kind.ending and output.suffix != kind.ending:
        raise UserError(f"--output of an export as {kind.title} must end in {kind.ending}.", output)
    if not output.exists():
        return
    if not overwrite:
        raise UserError("The output exists already: give --overwrite to replace it, or another --output.", output)
    # A slip in --output must not cost a user's folder.
    if output.is_dir() and (kind.ending or not (output / "saved_model.pb").is_file()):
        raise UserError("--overwrite replaces an export, never another folder.", output)


def _check_modules(kind: Format) -> None:
    for name in kind.needs:
        try:
            importlib.import_module(name)
        except ImportError as error:
            rule = f"An export as {kind.title} needs the module {name}: pip install 'streetdigits[export]'."
            raise UserError(rule, error) from error


def _publish(temporary: Path, output: Path) -> None:
    """Renames the finished export; an old folder is moved aside first, since no rename replaces one."""
    old = temporary.with_name(f"{temporary.name}.old")
    if output.is_dir():
        output.rename(old)
    temporary.replace(output)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
