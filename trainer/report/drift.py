"""Drift: how the newest snapshot of a run that followed a stream differs from its first one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.snapshots import is_stream, load_manifest
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place
from trainer.report.inputs import RunFiles

SAMPLE = 2000
"""Most examples of a snapshot that are looked at, evenly spread over its training split."""
_SPLIT = "train"
_BINS = 10
"""Ranges of sizes, each with the same share of the first snapshot."""
_PRIOR = 0.5
"""Count that is added to each value, so that one that never occurs has no infinite index (Jeffreys' prior)."""
_SCORES = {"whole_number_accuracy": "Numbers right", "digit_accuracy": "Digits right", "confidence": "Mean confidence"}


@dataclass(frozen=True)
class Change:
    """One property in two snapshots.

    Attributes:
      name: Name of the property.
      values: Names of its values, or ranges of them.
      first: Share of each value in the first snapshot, 0..1.
      newest: Share of each value in the newest one.
      variation: Total variation distance: the share of examples that would have to change their value, 0..1.
      stability: Population stability index: 0 for equal shares; 0.25 and above are often called a large shift.
      by_chance: Expected index of two samples of these sizes from one source.
    """

    name: str
    values: list[str]
    first: list[float]
    newest: list[float]
    variation: float
    stability: float
    by_chance: float


@dataclass(frozen=True)
class Drift:
    """What changed between the first and the newest snapshot of a run.

    Attributes:
      first: Number of the first snapshot.
      newest: Number of the newest one.
      examples: Number of training examples of both.
      sampled: Number of pictures of both that were looked at.
      changes: Properties of the data.
      scores: Name, and score of the last epoch on the validation splits of both snapshots.
    """

    first: int
    newest: int
    examples: tuple[int, int]
    sampled: tuple[int, int]
    changes: list[Change]
    scores: list[tuple[str, float, float]]


def measure_drift(run: RunFiles) -> tuple[Drift | None, list[str]]:
    """Returns the drift of a run that followed a stream to another snapshot, and a line if it cannot be measured."""
    numbers = [line["snapshot"] for line in run.history if type(line.get("snapshot")) is int]
    if not numbers or numbers[0] == numbers[-1]:
        return None, []
    place = run.data_dir
    if place is None or not is_stream(place):
        return None, ["The drift between the snapshots is missing: `--data` names the stream if it has moved."]
    try:
        before, now = (_Sample.of(place, number) for number in (numbers[0], numbers[-1]))
    except (OSError, UserError) as error:
        return None, [f"The drift between the snapshots is missing: {one_line(error)}"]
    found = Drift(
        first=numbers[0],
        newest=numbers[-1],
        examples=(before.examples, now.examples),
        sampled=(len(before.length), len(now.length)),
        changes=_changes(before, now),
        scores=_scores(run.history[-1]),
    )
    return found, []


@dataclass(frozen=True)
class _Sample:
    """Pictures of a snapshot: lengths of their numbers, indices of all characters, and heights and widths."""

    examples: int
    alphabet: str
    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, stream: Place, snapshot: int) -> "_Sample":
        """Reads the sample of a snapshot.

        Raises:
          UserError: There is no such snapshot, it has no training example, or a record is damaged.
        """
        import tfrecords

        manifest = load_manifest(stream, snapshot)
        every = tfrecords.open(str(stream), _SPLIT, manifest=manifest)
        indices = np.unique(np.linspace(0, len(every) - 1, min(len(every), SAMPLE)).astype(int)).tolist()
        batch = every.batch(indices, ("key", "length", "digits", "source_size"))
        # Jitters of one picture have one label, and would make shares look more certain than they are.
        _, once = np.unique([key.rpartition("#")[0] for key in batch["key"].tolist()], return_index=True)
        length, digits = batch["length"][once], batch["digits"][once]
        characters = digits[np.arange(digits.shape[1]) < length[:, None]]
        return cls(len(every), manifest.labels.alphabet, length, characters, batch["source_size"][once])


def _changes(before: _Sample, now: _Sample) -> list[Change]:
    longest = int(max(before.length.max(), now.length.max()))
    alphabet = before.alphabet
    lengths = [np.bincount(each.length, minlength=longest + 1) for each in (before, now)]
    digits = [np.bincount(each.digits, minlength=len(alphabet)) for each in (before, now)]
    found = [
        change("Length of the numbers", [str(length) for length in range(longest + 1)], *lengths),
        change("Characters", list(alphabet), *digits),
    ]
    for axis, name in enumerate(("Height of the pictures", "Width of the pictures")):
        values, counts = _binned(before.sizes[:, axis], now.sizes[:, axis])
        found.append(change(name, values, *counts))
    return [each for each in found if len(each.values) > 1]


def _binned(first: NDArray[np.int64], newest: NDArray[np.int64]) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Returns ranges with about the same share of the first values, and the counts of both in them."""
    edges = np.unique(np.quantile(first, np.linspace(0, 1, _BINS + 1)[1:-1]).astype(int))
    counts = [np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (first, newest)]
    ends = [f"to {edges[0]}", *(f"{low + 1} to {high}" for low, high in pairwise(edges.tolist()))]
    return [*ends, f"from {edges[-1] + 1}"], counts


def change(name: str, values: Sequence[str], first: NDArray[np.int64], newest: NDArray[np.int64]) -> Change:
    """Returns how the shares of values differ between two samples; values that occur in neither are left out.

    Args:
      name: Name of the property.
      values: Name of each value.
      first: Count of each value in the first sample: (values,).
      newest: Count of each value in the newest one: (values,).
    """
    there = (first + newest) > 0
    counts = [each[there].astype(float) for each in (first, newest)]
    shares = [each / max(each.sum(), 1) for each in counts]
    smooth = [(each + _PRIOR) / (each + _PRIOR).sum() for each in counts]
    return Change(
        name=name,
        values=[value for value, is_there in zip(values, there, strict=True) if is_there],
        first=shares[0].tolist(),
        newest=shares[1].tolist(),
        variation=float(np.abs(shares[0] - shares[1]).sum() / 2),
        stability=float(((smooth[1] - smooth[0]) * np.log(smooth[1] / smooth[0])).sum()),
        by_chance=float((there.sum() - 1) * sum(1 / max(each.sum(), 1) for each in counts)),
    )


def _scores(line: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Returns the scores of an epoch on both validation splits; none if they are the same."""
    pairs = (
        (title, line.get(f"validation_{name}"), line.get(f"validation_newest_{name}"))
        for name, title in _SCORES.items()
    )
    return [
        (title, float(first), float(newest))
        for title, first, newest in pairs
        if isinstance(first, int | float) and isinstance(newest, int | float) and math.isfinite(first + newest)
    ]
