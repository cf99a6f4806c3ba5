"""A model as one GraphDef whose weights are constants, for programs in C and C++ that link TensorFlow.

It maps uint8 images to the outputs of the SavedModel, without the text. A SavedModel is a folder whose variables have
to be restored first; this is one file, and a session runs it as it is.
"""

from dataclasses import fields
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from trainer.export.saved_model import image_spec, most_probable
from trainer.scoring.decode import Predictions

_OUTPUTS = [field.name for field in fields(Predictions) if field.name != "labels"]
_MOST_BYTES = 2**31 - 2**20
"""Largest size of the weights in a GraphDef, bytes: a protocol buffer has 2 GiB, of which operations need little."""


def write_graph(model: keras.Model, output: Path, temperature: float = 1.0) -> None:
    """Writes a serialized GraphDef with the input `image` and an operation named for each output.

    The model is traced with constants in place of its weights: TensorFlow's function that replaces the variables of a
    traced graph, `convert_variables_to_constants_v2`, is not public.

    Raises:
      UserError: The weights are larger than a GraphDef can be.
    """
    groups = (model.trainable_variables, model.non_trainable_variables)
    weights = [[variable.numpy() for variable in group] for group in groups]
    if (size := sum(value.nbytes for group in weights for value in group)) > _MOST_BYTES:
        rule = f"A GraphDef must have at most {_MOST_BYTES:,} bytes of weights: export {model.name} as a SavedModel."
        raise UserError(rule, f"{size:,} bytes")

    def predict(image: tf.Tensor) -> dict[str, tf.Tensor]:
        # Under a scope, no operation of the model takes the name of an output.
        with tf.name_scope("model"):
            constants = [[tf.constant(value) for value in group] for group in weights]
            outputs, _ = model.stateless_call(*constants, tf.cast(image, tf.float32), training=False)
            predictions = most_probable(outputs, temperature)
        return {name: tf.identity(value, name) for name, value in predictions.items()}

    traced = tf.function(predict, autograph=False, input_signature=[image_spec(model)]).get_concrete_function()
    output.write_bytes(traced.graph.as_graph_def().SerializeToString(deterministic=True))


def predict_graph(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the predictions of a GraphDef file for (batch, height, width, channels) uint8 images."""
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(tf.compat.v1.GraphDef.FromString(path.read_bytes()), name="")
    with tf.compat.v1.Session(graph=graph) as session:
        predictions: dict[str, np.ndarray] = session.run({name: f"{name}:0" for name in _OUTPUTS}, {"image:0": images})
    return predictions
