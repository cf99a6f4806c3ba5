"""Random bits that follow from a text: the same on every machine, with every version of Python and NumPy."""

import hashlib


def stable_digest(text: str, size: int = 8) -> int:
    """Returns `8 * size` uniform bits, independent for each text: BLAKE2b, big-endian."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest(), "big")
