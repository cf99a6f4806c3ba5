"""Damage to files, drawn from a seed: to bytes, and to the values of a JSON text."""

import copy
import json
import random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 7, 255, 2**31, 2**53, 2**63, 2**64, 10**30, 10**400),
    *(0.0, -0.5, 1.5, 1e308, float("nan"), float("inf")),
    *("", "x", "0", "-1", "../../etc/passwd", "a\nb", "\x1b[31m", "\ud800", "\0", "ä" * 300),
    *([], [[]], [0], [None], {}, {"": {}}, {"a": [{"b": None}]}),
)
"""Values that another program, a careless hand or an attacker puts where others belong."""


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes with one to three changes: flipped, cut off, deleted, repeated, zeroed or random ones."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(changed) + 1)
        stop = min(len(changed), start + rng.choice((1, 1, 2, 4, 8, 64)))
        kind = rng.randrange(6)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[start:]
        elif kind == 2:
            del changed[start:stop]
        elif kind == 3:
            changed[start:start] = changed[start:stop]
        else:
            changed[start:stop] = bytes(stop - start) if kind == 4 else rng.randbytes(stop - start)
    return bytes(changed)


def mutate_json(content: Any, rng: random.Random) -> str:
    """Returns a JSON text with one to three values replaced, deleted, added, renamed, or deeply nested."""
    root = {"": copy.deepcopy(content)}
    for _ in range(rng.randint(1, 3)):
        parent, key = rng.choice(list(_places(root)))
        kind = rng.randrange(8)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict) and parent is not root:
            parent[str(rng.choice(VALUES))[:50]] = parent.pop(key)
        elif kind == 2 and isinstance(parent, dict) and parent is not root:
            parent[str(rng.choice(VALUES))[:50]] = _value(rng)
        elif kind == 3:
            parent[key] = [parent[key]]
        else:
            parent[key] = _value(rng)
        root = {"": root.get("", _value(rng))}
    text = json.dumps(root[""])
    return "[" * 2000 + text if rng.random() < 0.001 else text


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(VALUES))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns every (container, key or index) in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *_places(value[key]))]
