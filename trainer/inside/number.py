"""The number that a model predicts for an image, and its log-probability as a function of the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DIGITS, _LENGTH = "digit_logits", "length_logits"


@dataclass(frozen=True)
class Number:
    """A number as a model predicts it.

    Attributes:
      length: Number of characters, longest + 1 for a longer number; None if the model reads single characters only.
      digits: Index into the alphabet of the character at each position before the number's end.
    """

    length: int | None
    digits: tuple[int, ...]


def predicted_number(outputs: Mapping[str, Any]) -> Number:
    """Returns the jointly most probable length and characters of the first image.

    Args:
      outputs: `digit_logits` (batch, positions, characters) and, unless numbers are single characters,
        `length_logits` (batch, positions + 2).
    """
    from keras import ops

    digit_log = ops.log_softmax(outputs[_DIGITS][0])
    digits = [int(index) for index in ops.convert_to_numpy(ops.argmax(digit_log, axis=-1))]
    if _LENGTH not in outputs:
        return Number(None, tuple(digits))
    lengths = range(len(digits) + 2)
    # The best characters are the same for every length (Goodfellow et al. 2013, section 4).
    totals = [float(log_probability(outputs, Number(length, tuple(digits[:length])))[0]) for length in lengths]
    best = max(lengths, key=totals.__getitem__)
    return Number(best, tuple(digits[:best]))


def log_probability(outputs: Mapping[str, Any], number: Number) -> Any:
    """Returns the log-probability of a number for each image, as a tensor (batch,) that has a gradient.

    Args:
      outputs: As for `predicted_number`.
      number: Number whose probability is computed, not longer than the positions.
    """
    from keras import ops

    digit_log = ops.log_softmax(outputs[_DIGITS])
    parts = [digit_log[:, position, index] for position, index in enumerate(number.digits)]
    if number.length is not None:
        parts.append(ops.log_softmax(outputs[_LENGTH])[:, number.length])
    return sum(parts)
