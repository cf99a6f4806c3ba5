"""The layers of a model as rows of a table: kind, configuration in words, output shape and weights."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
      name: Name of the layer, unique in its model.
      kind: Class of the layer, such as `Conv2D`.
      configuration: Settings in words, such as `32 of 3x3, stride 2, relu`; empty where the shape says everything.
      shape: Output shape without the batch, such as `27 x 27 x 32`; several outputs are separated by semicolons.
      weights: Number of weights.
      trainable: Number of weights that training changes by gradients.
    """

    name: str
    kind: str
    configuration: str
    shape: str
    weights: int
    trainable: int


@dataclass(frozen=True)
class ModelSize:
    """The weights of a model.

    Attributes:
      weights: Number of weights.
      trainable: Number of weights that training changes by gradients.
      bytes: Size of the weights in memory, bytes.
    """

    weights: int
    trainable: int
    bytes: int


_UNNAMED = frozenset(
    {
        "autocast",
        "batch_shape",
        "data_format",
        "dtype",
        "input_dtype",
        "name",
        "seed",
        "target_shape",
        "trainable",
    }
)
"""Settings that the table leaves out: they do not change what a layer computes, or the output shape states them."""


def layer_rows(model: keras.Model) -> list[LayerRow]:
    """Returns the rows of a model's layers, in their order in the model; a model inside the model is one row."""
    return [
        LayerRow(
            name=layer.name,
            kind=type(layer).__name__,
            configuration=_configuration(layer),
            shape=_shape(layer),
            weights=layer.count_params(),
            trainable=_count(layer.trainable_weights),
        )
        for layer in model.layers
    ]


def model_size(model: keras.Model) -> ModelSize:
    """Returns the number of a model's weights and their size."""
    import keras

    sizes = [(_count([weight]), keras.backend.standardize_dtype(weight.dtype)) for weight in model.weights]
    size = sum(count * _bits(dtype) for count, dtype in sizes) // 8
    return ModelSize(model.count_params(), _count(model.trainable_weights), size)


def convolutions(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model that convolve images, in their order in the model."""
    from keras import layers

    kinds = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D)
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def _count(weights: Sequence[Any]) -> int:
    """Returns the number of values of some variables."""
    return sum(math.prod(weight.shape) for weight in weights)


def _bits(dtype: str) -> int:
    """Returns the size of a number, bits: that of NumPy's types, and of those with the size in their name."""
    return 8 if dtype == "bool" else int("".join(letter for letter in dtype if letter.isdigit()))


def _shape(layer: keras.layers.Layer) -> str:
    import keras

    shapes = [output.shape[1:] for output in keras.tree.flatten(layer.output)]
    return "; ".join(" x ".join("?" if side is None else str(side) for side in shape) for shape in shapes)


def _configuration(layer: keras.layers.Layer) -> str:
    """Returns a layer's settings in words."""
    settings = layer.get_config()
    if "kernel_size" in settings:
        words = _convolution(settings)
    elif "pool_size" in settings:
        # The usual stride of pooling is its size, so that no stride is a matter of course.
        words = [_sides(settings["pool_size"]), f"stride {_step(settings['strides'])}", *_padding(settings)]
    elif "units" in settings and "use_bias" in settings:
        words = [str(settings["units"]), *_ending(settings)]
    else:
        words = _chosen(layer, settings)
    return ", ".join(words)


def _convolution(settings: dict[str, Any]) -> list[str]:
    size = _sides(settings["kernel_size"])
    first = f"{settings['filters']} of {size}" if "filters" in settings else size
    if (multiplier := settings.get("depth_multiplier", 1)) != 1:
        first += f", {multiplier} per channel"
    dilation = settings.get("dilation_rate", 1)
    dilated = [] if set(_tuple(dilation)) == {1} else [f"dilation {_step(dilation)}"]
    groups = [f"{settings['groups']} groups"] if settings.get("groups", 1) != 1 else []
    return [first, *_stride(settings), *_padding(settings), *dilated, *groups, *_ending(settings)]


def _stride(settings: dict[str, Any]) -> list[str]:
    return [] if set(_tuple(settings["strides"])) == {1} else [f"stride {_step(settings['strides'])}"]


def _padding(settings: dict[str, Any]) -> list[str]:
    return ["padded"] if settings["padding"] == "same" else []


def _ending(settings: dict[str, Any]) -> list[str]:
    """Returns the words for bias and activation, which end the settings of layers with a kernel."""
    activation = settings["activation"]
    # An activation that is a layer is saved as its class and settings.
    name = activation.get("class_name") if isinstance(activation, dict) else activation
    return ([] if settings["use_bias"] else ["no bias"]) + ([] if name in (None, "linear") else [str(name)])


def _chosen(layer: keras.layers.Layer, settings: dict[str, Any]) -> list[str]:
    """Returns the words for the settings of any layer that differ from the defaults of its class."""
    parameters = inspect.signature(type(layer).__init__).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    words = []
    for name, value in settings.items():
        # Off is worth a word only where on is the default; Keras saves some switches whose default is None as False.
        is_default = value == defaults.get(name) or (value is False and defaults.get(name) is not True)
        if name in defaults and name not in _UNNAMED and not is_default:
            words += _words(name, value)
    return words


def _words(name: str, value: Any) -> list[str]:
    """Returns one setting in words; none for what is no number, switch or name, such as an initializer."""
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return [words if value else f"no {words}"]
    if isinstance(value, str):
        return [value if name == "activation" else f"{words} {value}"]
    if isinstance(value, int | float):
        return [f"{words} {value:g}"]
    if isinstance(value, tuple | list) and value and all(isinstance(part, int | float) for part in value):
        return [f"{words} ({', '.join(f'{part:g}' for part in value)})"]
    return []


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _sides(value: Any) -> str:
    """Returns a height and width in words: 5x5."""
    return "x".join(map(str, _tuple(value)))


def _step(value: Any) -> str:
    """Returns a step down and to the right in words: 2 where both are the same."""
    return str(_tuple(value)[0]) if len(set(_tuple(value))) == 1 else _sides(value)
