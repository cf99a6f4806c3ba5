"""Writes the graph of a run's model for ONNX Runtime, without the weights: it reads those of `best.weights.h5`.

An ONNX file may name another file, and a place in it, for each of its weights ("external data"). HDF5 keeps an array
that is neither compressed nor in chunks as one piece of a file. So the weights are in the package once, and both
runtimes have the same ones.
"""

import functools
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords.dataset.manifest import FIND
from tfrecords.files.publish import atomic_write
from trainer.finding.decode import peaks
from trainer.finding.learn import stride_of
from trainer.lite.convert import Forward, convert
from trainer.lite.runtime import BOXES, CONFIDENCE, LITE_MODEL
from trainer.run.directory import WEIGHTS, Run
from trainer.run.weights import load_model
from trainer.scoring.calibration_file import weights_digest

Place = tuple[NDArray[Any], int]
"""An array of an HDF5 file, and where its first byte is in the file."""


def write_lite(run: Run) -> Path:
    """Writes the graph of a run's model next to its weights, and returns its file.

    A reader's outputs are its logits, a finder's its peaks. The file has the weights' SHA-256 in its metadata.

    Raises:
      UserError: The run has no weights, or they are of another architecture.
      ModuleNotFoundError: The extra `export` is not installed.
    """
    import onnx

    proto = _convert(load_model(run), run)
    onnx.helper.set_model_props(proto, {"weights_sha256": weights_digest(run)})
    with atomic_write(run.directory / LITE_MODEL) as stream:
        stream.write(proto.SerializeToString(deterministic=True))
    return run.directory / LITE_MODEL


def _convert(model: keras.Model, run: Run) -> Any:
    """Returns a model as an ONNX model whose weights are those of the run's file."""
    places = _places(run.weights)

    def predict(image: tf.Tensor, forward: Forward) -> dict[str, tf.Tensor]:
        outputs = forward(tf.cast(image, tf.float32))
        if run.task != FIND:
            return dict(outputs)
        boxes, confidence = peaks(outputs, stride_of(model))
        return {BOXES: boxes, CONFIDENCE: confidence}

    spec = tf.TensorSpec((None, *run.image_shape), tf.uint8, "image")
    return convert([model], predict, spec, functools.partial(_tensor, places=places))[0]


def _places(path: Path) -> list[Place]:
    """Returns the arrays of an HDF5 file that are one piece of it."""
    places: list[Place] = []

    def take(_: str, item: h5py.Group | h5py.Dataset) -> None:
        # None for an array in chunks, or without a byte.
        if isinstance(item, h5py.Dataset) and (offset := item.id.get_offset()) is not None:
            places.append((item[()], offset))

    with h5py.File(path) as file:
        file.visititems(take)
    return places


def _tensor(value: NDArray[Any], name: str, places: list[Place]) -> Any:
    """Returns an array as an ONNX tensor that names its place among the weights, or has its bytes if it has none."""
    import onnx

    tensor = onnx.numpy_helper.from_array(value, name)
    same = (
        offset
        for array, offset in places
        if array.shape == value.shape and array.dtype == value.dtype and np.array_equal(array, value)
    )
    if (offset := next(same, None)) is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, text in (("location", WEIGHTS), ("offset", offset), ("length", value.nbytes)):
            tensor.external_data.add(key=key, value=str(text))
    return tensor
