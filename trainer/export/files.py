"""A model as one file: .keras and .h5 for Keras, .tflite for LiteRT, .onnx for ONNX Runtime; and each asked again.

The runtimes are imported where they are used: they come with an extra of their own.
The Keras files hold the model itself (pictures to logits). The other two take pixels and
give what the SavedModel gives, less the text, since neither has strings everywhere.
"""

import tempfile
from pathlib import Path

import absl.logging
import keras
import numpy as np
import tensorflow as tf

import trainer.models  # noqa: F401  # tells Keras of our layers, which files name
from trainer.export.saved_model import most_probable, save_signatures

_OPSET = 18
"""Of ONNX; ONNX Runtime reads it since 1.14 (2023)."""


def write_keras(model: keras.Model, output: Path) -> None:
    """Writes Keras's own format."""
    model.save(output)


def write_h5(model: keras.Model, output: Path) -> None:
    """Writes Keras's legacy format, for models of layers alone: operations of `keras.ops` Keras 3.15 loads no more."""
    before = absl.logging.get_verbosity()
    # Keras warns that the format is legacy, which is what the user asked for.
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        model.save(output)
    finally:
        absl.logging.set_verbosity(before)


def ask_keras(path: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the answers of a `.keras` or `.h5` file's model to (batch, height, width, channels) uint8 pictures."""
    return answers_of(keras.models.load_model(path, compile=False), pictures)


def answers_of(model: keras.Model, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a model's answers to (batch, height, width, channels) uint8 pictures, as `most_probable` names them."""
    answers = most_probable(model(pictures.astype(np.float32), training=False))
    return {name: value.numpy() for name, value in answers.items()}


def write_tflite(model: keras.Model, output: Path) -> None:
    """Writes a LiteRT (TensorFlow Lite) file of float32 weights and LiteRT's own operations only."""

    @tf.function(input_signature=[_image_spec(model)])
    def read(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return most_probable(model(tf.cast(image, tf.float32), training=False))

    with tempfile.TemporaryDirectory() as folder:
        # By way of a SavedModel: from a concrete function TensorFlow 2.21 leaves the weights of a Keras 3 model
        # out, without a word (44 kB instead of 2.2 MB, and every answer NaN).
        save_signatures(model, {"serving_default": read}, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        output.write_bytes(converter.convert())


def ask_tflite(path: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a LiteRT file's answers to (batch, height, width, channels) uint8 pictures."""
    from ai_edge_litert.interpreter import Interpreter

    answers: dict[str, np.ndarray] = Interpreter(str(path)).get_signature_runner("serving_default")(image=pictures)
    return answers


def write_onnx(model: keras.Model, output: Path) -> None:
    """Writes an ONNX file.

    The weights are converted as inputs and put into the file afterwards: tf2onnx copies
    whatever the graph holds some fifty times, which for `goodfellow` (152 MB) took
    80 s and 11 GB, and 5 s and 2 GB this way.
    """
    import onnx
    import tf2onnx

    trainable = len(model.trainable_variables)
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    weights = {f"weight_{index}": variable.numpy() for index, variable in enumerate(variables)}

    @tf.function
    def read(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        pictures = tf.cast(image, tf.float32)
        outputs, _ = model.stateless_call(values[:trainable], values[trainable:], pictures, training=False)
        return most_probable(outputs)

    specs = [_image_spec(model), *(tf.TensorSpec(value.shape, value.dtype, name) for name, value in weights.items())]
    proto, _ = tf2onnx.convert.from_function(read, specs, opset=_OPSET)
    graph = proto.graph
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(onnx.numpy_helper.from_array(weights[name], name) for name in weights if name in used)
    (image,) = (value for value in graph.input if value.name not in weights)
    shapes = read.get_concrete_function(*specs).structured_outputs
    for value in (image, *graph.output):
        # tf2onnx gives the batch another name in each, and forgets sizes that follow from it.
        sizes = specs[0].shape if value.name == image.name else shapes[value.name].shape
        dimensions = value.type.tensor_type.shape.dim
        dimensions[0].dim_param = "batch"
        for dimension, size in zip(dimensions[1:], sizes[1:], strict=True):
            dimension.dim_value = size
    for value in [value for value in graph.input if value.name != image.name]:
        graph.input.remove(value)
    onnx.save(proto, output)


def ask_onnx(path: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Returns an ONNX file's answers to (batch, height, width, channels) uint8 pictures."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pictures}), strict=True))


def _image_spec(model: keras.Model) -> tf.TensorSpec:
    return tf.TensorSpec(model.input_shape, tf.uint8, name="image")
