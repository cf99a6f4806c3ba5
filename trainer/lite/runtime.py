"""A model on ONNX Runtime instead of TensorFlow, where its run directory has a file for that: it starts in 0.1 s.

Neither is imported with this module.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.typed_json import shorten
from trainer.run.directory import Run
from trainer.run.stand_in import shown
from trainer.scoring.calibration_file import weights_digest

LITE_MODEL = "lite.onnx"
"""Graph of a run's model, whose weights are those in `best.weights.h5` next to it."""
AUTO, TENSORFLOW, LITE = "auto", "tensorflow", "lite"
RUNTIMES = (AUTO, TENSORFLOW, LITE)
"""What computes predictions: the best that is there, TensorFlow, or ONNX Runtime."""
BOXES, CONFIDENCE = "boxes", "confidence"
"""Outputs of a finder's graph: what `trainer.finding.decode.peaks` returns. Those of a reader's are its logits."""
_ERRORS_ONLY = 3
"""Level of ONNX Runtime's log."""
_TENSORFLOWS = ("tensorflow", "keras")
_WITHOUT = "Without it, ONNX Runtime runs what `python -m trainer export --format onnx` writes where TensorFlow is."

Outputs = Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]
"""Function from (batch, height, width, channels) uint8 images, of any size from the model's on, to outputs by name."""


def choose_runtime(run: Run, asked: str = AUTO) -> str:
    """Returns `TENSORFLOW` or `LITE`. The predictions are the same.

    Args:
      run: Run of the model.
      asked: One of `RUNTIMES`.

    Raises:
      UserError: `asked` is another word, or `LITE` for a run without a file for it.
      ModuleNotFoundError: ONNX Runtime is needed and not installed.
    """
    if asked not in RUNTIMES:
        raise UserError(f"runtime must be one of {', '.join(RUNTIMES)}.", asked)
    has_model = asked != TENSORFLOW and _has_lite_model(run)
    if asked == LITE and not has_model:
        rule = f"The runtime {LITE} needs a model that comes with the package, as {LITE_MODEL}"
        rule += "; `python -m trainer export --format onnx` writes other models for ONNX Runtime."
        raise UserError(rule, shown(run.directory))
    if not has_model:
        return TENSORFLOW
    try:
        import onnxruntime  # noqa: F401  # asks whether it is there
    except ModuleNotFoundError:
        if asked == LITE or not _is_installed(_TENSORFLOWS[0]):
            raise
        return TENSORFLOW
    except ImportError as error:
        if asked == LITE:
            raise UserError("ONNX Runtime cannot be imported.", error) from error
        print(f"note: ONNX Runtime cannot be imported, TensorFlow is used: {shorten(str(error))}", file=sys.stderr)
        return TENSORFLOW
    return LITE


def open_lite(run: Run) -> Outputs:
    """Returns a function that computes a model's outputs on ONNX Runtime, on one core.

    Two cores took as long as one for the finder, and twice as long for 64 images of the reader on a busy machine:
    threads that wait for each other spin.

    Raises:
      UserError: The file of the model cannot be loaded.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    path = run.directory / LITE_MODEL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # ONNX Runtime has exceptions of its own, with no class for all of them.
    except Exception as error:
        raise UserError(f"{path} must be a model that ONNX Runtime can load.", shorten(str(error))) from error
    names = [value.name for value in session.get_outputs()]
    height, width, _ = run.image_shape

    def outputs(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
        window = images[:, top : top + height, left : left + width]
        return dict(zip(names, session.run(names, {"image": np.ascontiguousarray(window)}), strict=True))

    return outputs


def start_keras(run: Run) -> None:
    """Imports TensorFlow and Keras for the model of a run.

    Raises:
      UserError: They are not installed, or Keras already runs on another backend than TensorFlow.
    """
    from trainer.distribute.startup import start_tensorflow

    try:
        start_tensorflow()
        import keras
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _TENSORFLOWS:
            raise
        rule = f"The model of {shown(run.directory)} needs {missing}, which is not installed"
        raise UserError(f"{rule}: pip install 'streetdigits[train]'. {_WITHOUT}") from error
    if keras.backend.backend() != "tensorflow":
        raise UserError("Keras must run on TensorFlow: set KERAS_BACKEND=tensorflow.", keras.backend.backend())


def _has_lite_model(run: Run) -> bool:
    """Returns whether a run has a file for ONNX Runtime, with a note where it is of other weights."""
    path = run.directory / LITE_MODEL
    if not path.is_file():
        return False
    # In the metadata of the file, which is too small to be worth a parser.
    if weights_digest(run).encode() in path.read_bytes():
        return True
    rule = "is of other weights, and is not used; `python -m trainer.pretrained` replaces it"
    print(f"note: {shown(path)} {rule}", file=sys.stderr)
    return False


@functools.cache
def _is_installed(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except ImportError:
        return False
