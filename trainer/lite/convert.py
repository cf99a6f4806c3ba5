"""A function that calls models as an ONNX model. TensorFlow, which converts it, is imported with this module."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Forward = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""Function of (batch, height, width, channels) float32 images that returns the outputs of a model."""
_OPSET = 18
"""Version of ONNX's operators; ONNX Runtime supports it since 1.14 (2023)."""


def convert(
    models: Sequence[keras.Model],
    predict: Callable[..., dict[str, tf.Tensor]],
    spec: tf.TensorSpec,
    make_tensor: Callable[[NDArray[Any], str], Any] | None = None,
) -> tuple[Any, dict[str, tf.Tensor]]:
    """Returns an ONNX model, and the outputs of the function, which have shapes.

    The weights are converted as inputs and made constants afterwards: those of models that a loop or a branch calls
    would be there more than once.

    Args:
      models: Models that the function calls.
      predict: Function of the input, and of a function for each model from its images to its outputs.
      spec: Input.
      make_tensor: Function from a weight and its name to an ONNX tensor; None for tensors that hold the weight.

    Raises:
      ModuleNotFoundError: The extra `export` is not installed.
    """
    import onnx
    import tf2onnx

    groups = [[*model.trainable_variables, *model.non_trainable_variables] for model in models]
    weights = {f"weight_{index}": one.numpy() for index, one in enumerate(itertools.chain.from_iterable(groups))}

    def traced(value: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        left = iter(values)
        taken = [list(itertools.islice(left, len(group))) for group in groups]
        return predict(value, *map(_forward, models, taken))

    specs = [spec, *(tf.TensorSpec(value.shape, value.dtype, name) for name, value in weights.items())]
    function = tf.function(traced, autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, specs, opset=_OPSET)
    used, make = _used(proto.graph), make_tensor or onnx.numpy_helper.from_array
    proto.graph.initializer.extend(make(np.asarray(value), name) for name, value in weights.items() if name in used)
    for value in [value for value in proto.graph.input if value.name in weights]:
        proto.graph.input.remove(value)
    return proto, function.get_concrete_function(*specs).structured_outputs


def _forward(model: keras.Model, values: list[tf.Tensor]) -> Forward:
    """Returns a function from images to the outputs of a model with these weights."""
    count = len(model.trainable_variables)
    return lambda images: model.stateless_call(values[:count], values[count:], images, training=False)[0]


def _used(graph: Any) -> set[str]:
    """Returns the names that the operations of an ONNX graph use, those in its branches and loops too."""
    names = {name for node in graph.node for name in node.input}
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return names.union(*map(_used, inner))
