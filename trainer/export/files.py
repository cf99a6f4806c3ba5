"""A model as one file: .keras and .h5 for Keras, .tflite for LiteRT, .onnx for ONNX Runtime. Writes and runs each.

The runtimes come with an extra, and are imported where they are used. The Keras files hold the model itself, from
images to logits. The other two map uint8 images to the outputs of the SavedModel, without the text, since neither
runtime supports strings everywhere.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import absl.logging
import keras
import numpy as np
import tensorflow as tf

import trainer.models  # noqa: F401  # registers our layers with Keras, which files name
from tfrecords.record.labels import Labels
from trainer.export.saved_model import image_spec, most_probable, save_signatures
from trainer.lite.convert import Forward, convert


def predict_model(model: keras.Model, images: np.ndarray, temperature: float = 1.0) -> dict[str, np.ndarray]:
    """Returns a model's predictions for (batch, height, width, channels) uint8 images, named as by `most_probable`."""
    predictions = most_probable(model(images.astype(np.float32), training=False), temperature)
    return {name: value.numpy() for name, value in predictions.items()}


def write_keras(model: keras.Model, output: Path) -> None:
    """Writes a file in Keras's own format."""
    model.save(output)


def write_h5(model: keras.Model, output: Path) -> None:
    """Writes a file in Keras's legacy format.

    The model must consist of layers only: Keras 3.15 cannot load operations of `keras.ops` back from such a file.
    """
    before = absl.logging.get_verbosity()
    # Keras warns that the format is legacy, which the user chose.
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        model.save(output)
    finally:
        absl.logging.set_verbosity(before)


def predict_keras(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the predictions of a `.keras` or `.h5` file for (batch, height, width, channels) uint8 images."""
    return predict_model(keras.models.load_model(path, compile=False), images)


def write_tflite(model: keras.Model, output: Path, temperature: float = 1.0) -> None:
    """Writes a LiteRT (TensorFlow Lite) file with float32 weights and LiteRT's built-in operations only."""

    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return most_probable(model(tf.cast(image, tf.float32), training=False), temperature)

    with tempfile.TemporaryDirectory() as folder:
        # By way of a SavedModel: from a concrete function, TensorFlow 2.21 silently leaves out the weights of a
        # Keras 3 model (44 kB instead of 2.2 MB, and every prediction NaN).
        signature = tf.function(predict, autograph=False, input_signature=[image_spec(model)])
        save_signatures([model], {"serving_default": signature}, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        output.write_bytes(converter.convert())


def predict_tflite(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the predictions of a LiteRT file for (batch, height, width, channels) uint8 images."""
    from ai_edge_litert.interpreter import Interpreter

    predictions: dict[str, np.ndarray] = Interpreter(str(path)).get_signature_runner("serving_default")(image=images)
    return predictions


def write_onnx(model: keras.Model, labels: Labels, output: Path, temperature: float = 1.0) -> None:
    """Writes an ONNX file, with the longest length, the alphabet and the temperature in its metadata.

    The weights are converted as inputs and stored in the file afterwards. tf2onnx copies the weights of a graph about
    fifty times, which took 80 s and 11 GB for `goodfellow` (152 MB); this way it takes 5 s and 2 GB.
    """

    def predict(image: tf.Tensor, forward: Forward) -> dict[str, tf.Tensor]:
        return most_probable(forward(tf.cast(image, tf.float32)), temperature)

    save_onnx([model], predict, image_spec(model), ("batch",), output, labels, temperature)


def save_onnx(
    models: Sequence[keras.Model],
    predict: Callable[..., dict[str, tf.Tensor]],
    spec: tf.TensorSpec,
    sides: Sequence[str],
    output: Path,
    labels: Labels,
    temperature: float = 1.0,
) -> None:
    """Writes an ONNX file of a function that calls models: see `write_onnx`.

    Args:
      models: Models that the function calls.
      predict: Function of the input, and of a function for each model from its images to its outputs.
      spec: Input.
      sides: Names of the input's unknown sizes.
      output: File to write.
      labels: Numbers that are predicted, for the metadata.
      temperature: Divisor of the logits, for the metadata.
    """
    import onnx

    proto, outputs = convert(models, predict, spec)
    _set_shapes(proto.graph, spec, sides, outputs)
    facts = {"max_length": str(labels.max_length), "alphabet": labels.alphabet}
    facts |= {"temperature": str(temperature)} if temperature != 1 else {}
    onnx.helper.set_model_props(proto, facts)
    onnx.save(proto, output)


def predict_onnx(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the predictions of an ONNX file for (batch, height, width, channels) uint8 images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


def _set_shapes(graph: Any, spec: tf.TensorSpec, sides: Sequence[str], outputs: dict[str, tf.Tensor]) -> None:
    """Sets the shapes of an ONNX graph's input and outputs, with the same names for unknown sizes in all of them.

    tf2onnx gives the batch size another name in each, and leaves out sizes that follow from the graph.
    """
    (input_value,) = graph.input
    for value in (input_value, *graph.output):
        sizes = spec.shape if value.name == input_value.name else outputs[value.name].shape
        names = iter(sides)
        for dimension, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
            if size is None:
                dimension.dim_param = next(names)
            else:
                dimension.dim_value = size
