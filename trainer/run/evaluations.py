"""Files of an evaluation: scores and predictions, one pair per split."""

from dataclasses import dataclass
from pathlib import Path

from tfrecords.dataset.manifest import SPLITS, UNKNOWN_SPLIT
from trainer.run.directory import CONFIG, EVALUATION, HISTORY, PREDICTIONS

PREFERRED_SPLITS = tuple(name for name in reversed(SPLITS) if name != UNKNOWN_SPLIT)
"""Splits in the order in which `report` looks for one: test, validation, train."""
_FOUND, _UNBOXED = "found", "without-box"
"""Beginnings of the names of files of models that find numbers, alone and with a reader."""


@dataclass(frozen=True)
class EvaluationFiles:
    """Files of the evaluation of one split; either may be missing.

    Attributes:
      scores: JSON file of the scores.
      predictions: Parquet file with a row per example.
    """

    scores: Path
    predictions: Path

    @classmethod
    def of_split(cls, directory: Path, split: str) -> "EvaluationFiles":
        """Returns the files of a split in a run directory."""
        scores, predictions = Path(EVALUATION), Path(PREDICTIONS)
        return cls(
            directory / f"{scores.stem}-{split}{scores.suffix}",
            directory / f"{predictions.stem}-{split}{predictions.suffix}",
        )

    @classmethod
    def without_split(cls, directory: Path) -> "EvaluationFiles":
        """Returns the files as version 0.1.0 named them: only its last evaluation was kept."""
        return cls(directory / EVALUATION, directory / PREDICTIONS)

    @property
    def exist(self) -> bool:
        """Whether there is at least one of the files."""
        return self.scores.is_file() or self.predictions.is_file()

    def remove(self) -> None:
        """Removes the files that exist."""
        for path in (self.scores, self.predictions):
            path.unlink(missing_ok=True)


def found_file(directory: Path, split: str) -> Path:
    """Returns the file of the boxes that a model found in the pictures of a split: a line of JSON per picture."""
    return directory / f"{_FOUND}-{split}.jsonl"


@dataclass(frozen=True)
class UnboxedFiles:
    """Files of the evaluation of a reader and a finder together on one split.

    Attributes:
      scores: JSON file of the scores.
      pictures: A line of JSON per picture.
    """

    scores: Path
    pictures: Path

    @classmethod
    def of_split(cls, directory: Path, split: str) -> "UnboxedFiles":
        """Returns the files of a split in a run directory."""
        return cls(directory / f"{_UNBOXED}-{split}.json", directory / f"{_UNBOXED}-{split}.jsonl")


def unboxed_splits(directory: Path) -> list[str]:
    """Returns the splits with an evaluation of a reader and a finder together: test, validation, train, then others."""
    names = {path.stem.removeprefix(f"{_UNBOXED}-") for path in directory.glob(f"{_UNBOXED}-*.json")}
    return [name for name in PREFERRED_SPLITS if name in names] + sorted(names - set(PREFERRED_SPLITS))


def is_shown(name: str) -> bool:
    """Returns whether a page of a run shows the file of this name: configuration, curves, evaluations."""
    scores, predictions = Path(EVALUATION), Path(PREDICTIONS)
    parts = [(scores.stem, scores.suffix), (predictions.stem, predictions.suffix), (_FOUND, ".jsonl")]
    parts += [(_UNBOXED, ".json"), (_UNBOXED, ".jsonl")]
    return name in (CONFIG, HISTORY) or any(name.startswith(stem) and name.endswith(end) for stem, end in parts)


def find_evaluations(directory: Path) -> dict[str, EvaluationFiles]:
    """Returns the evaluations in a run directory by split: test, validation, train, then others by name.

    The last one may be that of an older version, whose split only its content names; its key is "".
    """
    stem = Path(EVALUATION).stem
    names = {path.stem.removeprefix(f"{stem}-") for path in directory.glob(f"{stem}-*.json")}
    names |= {path.stem.removeprefix(f"{Path(PREDICTIONS).stem}-") for path in directory.glob("predictions-*.parquet")}
    ordered = [name for name in PREFERRED_SPLITS if name in names] + sorted(names - set(PREFERRED_SPLITS))
    found = {name: EvaluationFiles.of_split(directory, name) for name in ordered}
    old = EvaluationFiles.without_split(directory)
    return {**found, "": old} if old.exist else found
