"""What to do about numbers that were rejected: the characters that the alphabet lacks, the length, or an example."""

import re
import shlex
from collections import Counter

import pyarrow as pa

from beam_jobs.annotation import NO_FAULTS
from beam_jobs.prepare.annotations_table import rows_with
from beam_jobs.prepare.config import PrepareConfig
from tfrecords.record.labels import MOST_CHARACTERS, MOST_LENGTH, Labels

COLUMNS = ["text", "reason", "detail"]
"""Columns of annotations.parquet that this module reads."""
_NAMED = 8
_LONG, _NARROW = 6, 9
"""Length of a number, characters, and width of a character, pixels, from which and below which images are too narrow.
Five digits in images 54 wide, as SVHN has them, are not."""
_ASPECT = 3 / 8
"""Proportions of an image per character."""
_LONGEST_DETAIL = 200


def narrow_characters(config: PrepareConfig) -> str:
    """Returns what is lost if numbers are long and images are no wider than high; empty if nothing is.

    Args:
      config: How the dataset is made, with the length of the longest number.
    """
    longest, width = config.max_length or 1, config.crop.record_shape[1]
    if longest < _LONG or width >= longest * _NARROW:
        return ""
    better = f"--aspect {longest * _ASPECT:.2g} makes them wider"
    return f"numbers have up to {longest} characters, and images {width} pixels of width: {better}"


def unknown_characters(table: pa.Table, labels: Labels) -> str:
    """Returns which characters of rejected numbers the alphabet lacks, and the option that takes them.

    Args:
      table: Rows of all pictures, with `COLUMNS`.
      labels: What the dataset's numbers may be.

    Returns:
      A sentence without its full stop; empty if no number was rejected for its characters.
    """
    texts = rows_with(table, "reason", "unknown_character")["text"].to_pylist()
    counts = Counter(character for text in texts for character in labels.unknown(text))
    if not counts:
        return ""
    common = sorted(counts, key=lambda character: (-counts[character], character))
    named = ", ".join(f"{each!r} in {counts[each]:,} number{'s' * (counts[each] != 1)}" for each in common[:_NAMED])
    more = f" and {len(common) - _NAMED:,} more" if len(common) > _NAMED else ""
    alphabet = labels.alphabet + "".join(sorted(counts))
    line = f"the alphabet lacks {named}{more}"
    if len(alphabet) > MOST_CHARACTERS or not alphabet.isprintable():
        return line
    return f"{line}: --alphabet {shlex.quote(alphabet)} has {'it' if len(common) == 1 else 'them'}"


def what_to_do(table: pa.Table, labels: Labels) -> str:
    """Returns a sentence about the reason that most rejected pictures have.

    Without such a reason, it is about the characters that the alphabet lacks; empty if there are none.

    Args:
      table: Rows of all pictures, with `COLUMNS`.
      labels: What the dataset's numbers may be.
    """
    reasons = Counter(reason for reason in table["reason"].to_pylist() if reason and reason not in NO_FAULTS)
    faults = rows_with(table, "reason", *reasons)
    reason, count = max(reasons.items(), key=lambda each: each[1], default=("", 0))
    if 2 * count <= reasons.total():
        line = unknown_characters(faults, labels)
        return line and f"{_capital(line)}."
    rows = rows_with(faults, "reason", reason)
    if reason == "unknown_character":
        return f"{_capital(unknown_characters(rows, labels))}."
    longest = max(map(len, filter(None, rows["text"].to_pylist())), default=0)
    if reason == "too_long" and longest <= MOST_LENGTH:
        return f"The longest has {longest} characters: --max-length {longest} takes it."
    detail = re.sub(r"\s+", " ", rows["detail"][0].as_py())[:_LONGEST_DETAIL]
    return f"The first {reason}: {detail}"


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]
