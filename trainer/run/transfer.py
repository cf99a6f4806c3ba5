"""Weights of a trained model in a model for other numbers, channels or sizes: what fits is kept, the rest stays new.

Convolutions do not depend on the size of the images. The first layer that does, and all that read its outputs, are new
where the size of the last feature map is another. A head has a class per length, or weights per position and per
character. Positions and characters that both models have keep their weights; lengths do so only together, since
"longer" is one of them. A model of single characters has no head for the length: it is left out, or new. The mean and
deviation that images are standardised by belong to the weights and are kept.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from trainer.models.layers import TrainingStandardise
from trainer.run.directory import labels_text

_LENGTHS, _CHARACTERS, _POSITIONS = "length_logits", "digit_logits", "attention_logits"
_BOTH = "flat_digit_logits"
"""Names of the layers whose shapes follow from the labels; the last has a weight per position and character."""
_HEADS = (_LENGTHS, _CHARACTERS, _POSITIONS, _BOTH)


def transfer(source: keras.Model, given: Labels, target: keras.Model, wanted: Labels) -> str:
    """Sets the weights of a model to those of another of the same architecture, as far as they fit.

    Args:
      source: Trained model.
      given: Numbers that it predicts.
      target: Model that is changed.
      wanted: Numbers that it predicts.

    Returns:
      Sentences that say which weights are new or changed, and that images are standardised as those of the source;
      empty if nothing does.
    """
    resized = set(_layers_of_size(source, target))
    new: list[str] = []
    partly: list[str] = []
    summed: list[str] = []
    values = []
    learned = dict(zip([weight.path for weight in source.weights], source.get_weights(), strict=True))
    for weight, fresh in zip(target.weights, target.get_weights(), strict=True):
        layer = weight.path.rpartition("/")[0]
        value = learned.pop(weight.path, None)
        if value is None or layer in resized:
            value = fresh
            new.append(layer)
        elif given != wanted and layer in _HEADS:
            head = _head(layer, value, given, fresh, wanted)
            if head is not value:
                (new if head is fresh else partly).append(layer)
            value = head
        elif value.shape != fresh.shape:
            value = _of_channels(value, fresh.shape[-2])
            summed.append(layer)
        values.append(value)
    target.set_weights(values)
    dropped = [path.rpartition("/")[0] for path in learned]
    told = _said(new, partly, dropped, _words(source, given, target, wanted))
    channels = target.input_shape[-1], source.input_shape[-1]
    kept = [layer.name for layer in target.layers if isinstance(layer, TrainingStandardise) and layer.name not in new]
    return " ".join(part for part in (told, _channels_said(summed, *channels), _statistics_said(kept)) if part)


def _layers_of_size(source: keras.Model, target: keras.Model) -> list[str]:
    """Returns the names of the layers that images of another size leave without use for the source's weights."""
    new: list[str] = []
    # The layers after these take standardised images in any case.
    measured: list[str] = []
    others = {layer.name: layer for layer in source.layers}
    for layer in target.layers:
        # One of the models may have no head for the length.
        if (other := others.get(layer.name)) is None:
            continue
        # A flattened map of 4 x 6 has as many values as one of 6 x 4, in another order.
        moved = isinstance(layer, keras.layers.Flatten) and layer.input.shape != other.input.shape
        # The kernels of convolutions depend on the channels, and heads on the labels too.
        is_other = layer.name in _HEADS or isinstance(layer, keras.layers.Conv2D)
        fits = is_other or [one.shape for one in layer.weights] == [one.shape for one in other.weights]
        if isinstance(layer, TrainingStandardise):
            measured += [] if fits else [layer.name]
            continue
        # All later layers read the outputs of these, but the characters' classifier reads those of the convolutions.
        if (new or moved or not fits) and layer.name != _CHARACTERS:
            new.append(layer.name)
    return measured + [name for name in new if target.get_layer(name).weights]


def _head(layer: str, value: NDArray[Any], given: Labels, fresh: NDArray[Any], wanted: Labels) -> NDArray[Any]:
    """Returns the weights of a head: those of shared positions and characters kept, the others new.

    They are the array `fresh` itself if none is kept, and `value` itself if all are.
    """
    if layer == _LENGTHS:
        return value if given.max_length == wanted.max_length else fresh
    # The last axis is (positions, characters), (positions, locations) or (characters,).
    old, new = (
        array.reshape(*array.shape[:-1], 1 if layer == _CHARACTERS else labels.max_length, -1)
        for array, labels in ((value, given), (fresh.copy(), wanted))
    )
    before = now = np.arange(old.shape[-1])
    if layer != _POSITIONS:
        characters = [one for one in wanted.alphabet if one in given.alphabet]
        before, now = (np.array([labels.alphabet.index(one) for one in characters], int) for labels in (given, wanted))
    if not len(before):
        return fresh
    positions = min(old.shape[-2], new.shape[-2])
    new[..., :positions, now] = old[..., :positions, before]
    return value if np.array_equal(new, old) else new.reshape(fresh.shape)


def _of_channels(kernel: NDArray[Any], channels: int) -> NDArray[Any]:
    """Returns the first convolution's kernel for another number of channels: (height, width, channels, units).

    Grey images, and the same images with their grey repeated in three channels, then give the same features.
    """
    summed = kernel.sum(axis=-2, keepdims=True)
    return np.repeat(summed / channels, channels, axis=-2)


def _words(source: keras.Model, given: Labels, target: keras.Model, wanted: Labels) -> tuple[str, str]:
    """Returns what the source and the target are for, as far as they differ; nothing if they do not."""
    shapes = source.input_shape[1:3], target.input_shape[1:3]
    sizes = [f"images of {height} x {width}" if shapes[0] != shapes[1] else "" for height, width in shapes]
    numbers = [labels_text(labels) if given != wanted else "" for labels in (given, wanted)]
    reading = [_LENGTHS in model.output for model in (source, target)]
    if given == wanted and reading[0] != reading[1]:
        numbers = ["numbers of at most one character" if reads else "single characters" for reads in reading]
    before, now = (" and ".join(filter(None, words)) for words in zip(sizes, numbers, strict=True))
    return before, now


def _said(new: list[str], partly: list[str], dropped: list[str], words: tuple[str, str]) -> str:
    """Returns what becomes of the layers; each is named once per weight."""
    if not any(words):
        return ""
    parts = ((new, "new"), (partly, "kept in part"), (dropped, "left out"))
    # A dictionary's keys are in order and distinct.
    told = [f"{what}: {', '.join(dict.fromkeys(layers))}" for layers, what in parts if layers]
    told.append("all other layers are kept" if told else "all layers are kept")
    return f"{'; '.join(told)}. The weights are of {words[0]}, the dataset of {words[1]}."


def _statistics_said(layers: list[str]) -> str:
    """Returns what images are standardised by, if a layer keeps the source's statistics."""
    if not layers:
        return ""
    return f"{', '.join(layers)} keeps the mean and deviation of the images that the weights were trained on."


def _channels_said(layers: list[str], wanted: int, given: int) -> str:
    """Returns what becomes of the first convolution."""
    if not layers:
        return ""
    done = "is summed over the" if wanted == 1 else "is a third of the grey one in each of the"
    return f"{layers[0]} {done} channels: the weights are of images with {given} channel{'s' * (given > 1)}."
