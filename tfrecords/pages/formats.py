"""Values as the texts of a page: the filters of the templates."""

import json
import math
from typing import Any, TypeGuard

from tfrecords.nested import flatten

DASH = "\u2013"
"""Text for a missing value."""
_SPACE = "\u2423"
"""Sign for a space."""


def format_percent(share: Any) -> str:
    """Returns a share in 0..1 as `87.3 %`, or a dash for anything else; only 1 gives 100 %, and only 0 gives 0 %."""
    if not is_finite(share):
        return DASH
    if 0.9995 <= share < 1:
        return ">\u00a099.9\u00a0%"
    if 0 < share < 0.0005:
        return "<\u00a00.1\u00a0%"
    return f"{100 * share:.1f}\u00a0%"


def visible(characters: str) -> str:
    """Returns characters with a sign for each space, which would be an empty heading or be taken for a separator."""
    return characters.replace(" ", _SPACE)


def format_value(value: Any) -> str:
    """Returns an int with thousands separators, a float with four significant digits, a dash for anything else."""
    if not is_finite(value):
        return DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def format_bytes(num_bytes: float) -> str:
    """Returns a number of bytes in the largest decimal unit that gives at least 1."""
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"


def named_texts(value: Any) -> list[tuple[str, str]]:
    """Returns (name, text) of every leaf of a JSON value.

    Names are joined by dots; the items of a list of objects are named by their indices. A value that is itself a leaf
    has an empty name.
    """
    nested = _with_indices(value)
    leaves = flatten(nested) if isinstance(nested, dict) and nested else {"": nested}
    return [
        (name, leaf if isinstance(leaf, str) else json.dumps(leaf, ensure_ascii=False)) for name, leaf in leaves.items()
    ]


def is_finite(value: Any) -> TypeGuard[int | float]:
    """Returns whether a JSON value is a finite number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _with_indices(value: Any) -> Any:
    """Returns a JSON value with its lists of objects as objects by index."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    return {name: _with_indices(inner) for name, inner in value.items()} if isinstance(value, dict) else value
