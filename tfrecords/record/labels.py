"""What the numbers of a dataset may be: their longest length, and the characters that they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tfrecords.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIGITS = "0123456789"
MOST_LENGTH = 32
MOST_CHARACTERS = 255
"""Largest size of an alphabet: an index, and the padding, fit one byte."""


@dataclass(frozen=True)
class Labels:
    """The numbers that the records of a dataset can hold.

    Attributes:
      max_length: Largest number of characters in a number, 1..32.
      alphabet: Characters that numbers are made of, all different. An example's `digits` are indices into it.

    Raises:
      UserError: An attribute breaks its rule.
    """

    max_length: int = 5
    alphabet: str = DIGITS

    def __post_init__(self) -> None:
        if not 1 <= self.max_length <= MOST_LENGTH:
            raise UserError(f"max_length must be 1..{MOST_LENGTH}.", self.max_length)
        if not 1 <= len(self.alphabet) <= MOST_CHARACTERS or not self.alphabet.isprintable():
            raise UserError(f"alphabet must be 1 to {MOST_CHARACTERS} printable characters.", repr(self.alphabet))
        if len(set(self.alphabet)) < len(self.alphabet):
            twice = next(each for each in self.alphabet if self.alphabet.count(each) > 1)
            raise UserError(f"alphabet must hold each character once, and has {twice!r} again.", repr(self.alphabet))

    @property
    def pad(self) -> int:
        """Padding of `digits`: the size of the alphabet, which is no index into it."""
        return len(self.alphabet)

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset(self.alphabet)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.alphabet)}

    def digits(self, text: str) -> NDArray[np.int64]:
        """Returns the indices of a number's characters, padded with `pad`: (max_length,) int64.

        Raises:
          UserError: The number is too long, or has a character that is not in the alphabet.
        """
        if len(text) > self.max_length:
            raise UserError(f"A number must have at most {self.max_length} characters.", repr(text))
        if unknown := self.unknown(text):
            raise UserError(f"A number must be of the characters {self.alphabet!r}.", f"{unknown!r} in {text!r}")
        # Command lines name labels before anything large is imported.
        import numpy as np

        padded = np.full(self.max_length, self.pad, np.int64)
        padded[: len(text)] = [self._indices[character] for character in text]
        return padded

    def unknown(self, text: str) -> str:
        """Returns the characters of a text that are not in the alphabet, each once, in order."""
        # Nearly all texts have none, and this tells so in a fraction of the time.
        if self._characters.issuperset(text):
            return ""
        return "".join(dict.fromkeys(character for character in text if character not in self._indices))

    def text(self, digits: Iterable[int]) -> str:
        """Returns the characters at some indices; an index that the alphabet does not have stays a number."""
        return spell(self.alphabet, digits)


def spell(alphabet: str, digits: Iterable[int]) -> str:
    """Returns the characters at some indices; an index that the alphabet does not have stays a number."""
    return "".join(alphabet[digit] if 0 <= digit < len(alphabet) else str(digit) for digit in digits)
