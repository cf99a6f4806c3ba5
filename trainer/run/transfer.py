"""Weights of a trained model in a model for other numbers or channels: what fits is kept, the rest stays new.

A head has a class per length, or weights per position and per character. Positions and characters that both models have
keep their weights; lengths do so only together, since "longer" is one of them.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from trainer.run.directory import labels_text

_LENGTHS, _CHARACTERS, _POSITIONS = "length_logits", "digit_logits", "attention_logits"
_BOTH = "flat_digit_logits"
"""Names of the layers whose shapes follow from the labels; the last has a weight per position and character."""


def transfer(source: keras.Model, given: Labels, target: keras.Model, wanted: Labels) -> str:
    """Sets the weights of a model to those of another of the same architecture and image size, as far as they fit.

    Args:
      source: Trained model.
      given: Numbers that it predicts.
      target: Model that is changed.
      wanted: Numbers that it predicts.

    Returns:
      A sentence that says which weights are new or changed, empty if none is.
    """
    changed: list[str] = []
    values = []
    for weight, value, fresh in zip(target.weights, source.get_weights(), target.get_weights(), strict=True):
        layer = weight.path.rpartition("/")[0]
        if given != wanted and layer in (_LENGTHS, _CHARACTERS, _POSITIONS, _BOTH):
            value = _head(layer, value, given, fresh, wanted)
        elif value.shape != fresh.shape:
            value = _of_channels(value, fresh.shape[-2])
            changed.append(layer)
        values.append(value)
    target.set_weights(values)
    channels = target.input_shape[-1], source.input_shape[-1]
    return " ".join(part for part in (_said(source, given, wanted), _channels_said(changed, *channels)) if part)


def _head(layer: str, value: NDArray[Any], given: Labels, fresh: NDArray[Any], wanted: Labels) -> NDArray[Any]:
    """Returns the weights of a head: those of shared positions and characters kept, the others new."""
    if layer == _LENGTHS:
        return value if given.max_length == wanted.max_length else fresh
    # The last axis is (positions, characters), (positions, locations) or (characters,).
    old, new = (
        array.reshape(*array.shape[:-1], 1 if layer == _CHARACTERS else labels.max_length, -1)
        for array, labels in ((value, given), (fresh.copy(), wanted))
    )
    before = now = np.arange(old.shape[-1])
    if layer != _POSITIONS:
        characters = _shared(given, wanted)
        before, now = (np.array([labels.alphabet.index(one) for one in characters], int) for labels in (given, wanted))
    positions = min(old.shape[-2], new.shape[-2])
    new[..., :positions, now] = old[..., :positions, before]
    return new.reshape(fresh.shape)


def _of_channels(kernel: NDArray[Any], channels: int) -> NDArray[Any]:
    """Returns the first convolution's kernel for another number of channels: (height, width, channels, units).

    Grey images, and the same images with their grey repeated in three channels, then give the same features.
    """
    summed = kernel.sum(axis=-2, keepdims=True)
    return np.repeat(summed / channels, channels, axis=-2)


def _shared(given: Labels, wanted: Labels) -> str:
    return "".join(one for one in wanted.alphabet if one in given.alphabet)


def _said(source: keras.Model, given: Labels, wanted: Labels) -> str:
    """Returns what becomes of the heads."""
    if given == wanted:
        return ""
    layers, characters = {layer.name for layer in source.layers}, _shared(given, wanted)
    new, kept = [], []
    if given.max_length != wanted.max_length:
        new.append(_LENGTHS)
        shared = min(given.max_length, wanted.max_length)
        if _POSITIONS in layers or (_BOTH in layers and characters):
            kept.append(f"the first {shared} positions" if shared > 1 else "the first position")
    if given.alphabet != wanted.alphabet:
        if characters:
            kept.append(f"the characters {characters!r}")
        else:
            new.append(_CHARACTERS)
    heads = [f"heads {', '.join(new)} are new" if len(new) > 1 else f"head {new[0]} is new"] if new else []
    heads += [f"weights of {' and '.join(kept)} are kept"] if kept else []
    return f"{'; '.join(heads)}: the weights are of {labels_text(given)}, the dataset of {labels_text(wanted)}."


def _channels_said(layers: list[str], wanted: int, given: int) -> str:
    """Returns what becomes of the first convolution."""
    if not layers:
        return ""
    done = "is summed over the" if wanted == 1 else "is a third of the grey one in each of the"
    return f"{layers[0]} {done} channels: the weights are of images with {given} channel{'s' * (given > 1)}."
