"""The table of the systems: published figures, goals, and what ours reached with each seed; as Markdown and JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from benchmarks.common.table import markdown, verdict
from benchmarks.systems.catalogue import DATASETS, SYSTEMS
from benchmarks.systems.run import Result
from tfrecords.files.publish import atomic_write

_HEAD = (
    "system",
    "data",
    "pictures to train, to test",
    "published",
    "goal",
    "ours, mean",
    "each seed",
    "weights",
    "minutes",
    "processor minutes",
)
_WORDS = 4
"""Number of columns that are text."""

Rows = Mapping[str, Sequence[Result]]
"""Results of the seeds of each system, by its name."""


def table(rows: Rows) -> str:
    """Returns the table in Markdown, one row per system; minutes are the mean of the seeds' trainings."""
    return markdown(_HEAD, [_cells(name, results) for name, results in rows.items()], _WORDS)


def _cells(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    system, first = SYSTEMS[name], results[0]
    # Where a training was stopped, only the time since its last start is known.
    least = "at least " if any(result.resumed for result in results) else ""
    return (
        f"`{name}`",
        DATASETS[system.data].title,
        f"{first.training_pictures:,}, {first.test_pictures:,}",
        system.published or "ours",
        "-" if system.goal is None else f"{100 * system.goal:.1f} %",
        f"{100 * mean_accuracy(results):.2f} %",
        ", ".join(f"{100 * result.accuracy:.2f}" for result in results),
        f"{first.weights:,}",
        f"{least}{mean(result.seconds for result in results) / 60:.1f}",
        f"{least}{mean(result.processor_seconds for result in results) / 60:.1f}",
    )


def mean_accuracy(results: Iterable[Result]) -> float:
    """Returns the mean whole-number accuracy of several seeds, 0 to 1."""
    return mean(result.accuracy for result in results)


def targets(rows: Rows) -> list[str]:
    """Returns a line per system that has a goal: whether the mean of its seeds reaches it."""
    lines = []
    for name, results in rows.items():
        goal, reached = SYSTEMS[name].goal, mean_accuracy(results)
        if goal is not None:
            seeds = f"mean of {len(results)} seed{'s' * (len(results) > 1)}"
            # A goal is in percent with one digit: 0.99 must not fail for the last bit of a mean.
            lines.append(verdict(reached > goal - 1e-9, f"{name}: {reached:.2%}, {seeds}, at least {goal:.1%}"))
    return lines


def write_tables(rows: Rows, missing: Mapping[str, str], folder: Path) -> tuple[Path, Path]:
    """Writes systems.md and systems.json, and returns their paths.

    Args:
      rows: Results by system.
      missing: Reasons why systems are missing, by system.
      folder: Folder to write to.
    """
    lines = [table(rows), "", *(f"- {line}" for line in (*targets(rows), *missing.values()))]
    content = {
        "systems": {
            name: {**asdict(SYSTEMS[name]), "mean_accuracy": mean_accuracy(results), "runs": list(map(asdict, results))}
            for name, results in rows.items()
        },
        "missing": dict(missing),
    }
    texts = {"systems.md": "\n".join(lines), "systems.json": json.dumps(content, indent=2)}
    for name, text in texts.items():
        with atomic_write(folder / name) as stream:
            stream.write(f"{text}\n".encode())
    return folder / "systems.md", folder / "systems.json"
