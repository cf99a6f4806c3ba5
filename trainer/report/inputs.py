"""The files of a run directory, read and checked; every file except config.json may be missing."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfrecords.dataset.manifest import FIND, MANIFEST, READ
from tfrecords.dataset.snapshots import is_stream, load_content, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.purpose import why_not
from tfrecords.record.labels import DIGITS
from tfrecords.typed_json import parse_object, shorten
from trainer.finding.found_file import FoundPicture, read_found
from trainer.run.cut import Cut, check_cut, cut_of, differences
from trainer.run.directory import CONFIG, HISTORY
from trainer.run.evaluations import PREFERRED_SPLITS, EvaluationFiles, find_evaluations, found_file
from trainer.scoring.prediction_file import Prediction, read_predictions

TRAIN = "python -m trainer train --data DATA --run-dir RUN"
EVALUATE = "python -m trainer evaluate --run-dir RUN --data DATA"
PREPARE = "python -m beam_jobs prepare"
_DEFAULT_SPLIT = "test"
"""Split that `evaluate` scores by default."""


@dataclass(frozen=True)
class RunFiles:
    """The contents of a run directory and of its dataset's manifest; empty or None where a file is missing.

    Attributes:
      run_dir: Run directory.
      config: Content of config.json.
      history: One mapping per epoch, ascending; for a repeated epoch, the last one.
      evaluation: Scores of the split that the page shows.
      other_evaluations: Scores of the other evaluated splits.
      predictions: Rows of the predictions of the split, in stored order.
      data_dir: Dataset directory of the evaluation, which may no longer exist.
      manifest: Content of the dataset's manifest.json, or of the snapshot that was evaluated.
      snapshot: Number of that snapshot; None for an ordinary dataset, or where it is no longer there.
      cut_differences: Differences between the cut of the evaluated images and that of the training images.
      trained_on_it: Whether the model was trained on exactly this dataset; None if it is unknown.
      missing: One line per missing file, with the command that makes it.
      first_snapshot: Number of the first snapshot that the model was trained on, if the dataset is a stream.
      task: What the model does: see `trainer.run.directory.Run`.
      found: What a model that finds numbers found in each picture of the split.
    """

    run_dir: Path
    config: dict[str, Any]
    history: list[dict[str, Any]]
    evaluation: dict[str, Any]
    other_evaluations: list[dict[str, Any]]
    predictions: list[Prediction]
    data_dir: Place | None
    manifest: dict[str, Any]
    snapshot: int | None
    cut_differences: tuple[str, ...]
    trained_on_it: bool | None
    missing: tuple[str, ...]
    first_snapshot: int | None = None
    task: str = READ
    found: list[FoundPicture] = field(default_factory=list)


def load_run(
    run_dir: Path, data_dir: Place | Path | None = None, split: str | None = None, snapshot: int | None = None
) -> RunFiles:
    """Returns the contents of a run directory and of its dataset's manifest.

    Args:
      run_dir: Directory with a config.json.
      data_dir: Dataset directory; None takes the one of the evaluation, or else of config.json.
      split: Split whose evaluation is shown; None takes test, validation or train, whichever is there.
      snapshot: Number of a snapshot, if the dataset is a stream; None takes the one of the evaluation, or else the
        newest.

    Raises:
      UserError: There is no config.json, the split was not evaluated, `data_dir` does not exist, a file is damaged, or
        the dataset was cut in another way than the images of the evaluation.
      OSError: A file cannot be read.
    """
    if not (run_dir / CONFIG).is_file():
        reason = why_not(run_dir, CONFIG)
        raise UserError(f"{run_dir} is not a run directory: {reason}; `{TRAIN}` creates one.", run_dir)
    data_dir = Place(data_dir) if isinstance(data_dir, Path) else data_dir
    if data_dir is not None and not data_dir.is_dir():
        raise UserError("--data must be an existing dataset directory.", data_dir)
    config = _read_object(run_dir / CONFIG)
    files, evaluation, others = _evaluations(run_dir, split)
    recorded = [(files.scores, evaluation.get("data")), (run_dir / CONFIG, config.get("data"))]
    data_dir = data_dir or next((_directory(str(data), path) for path, data in recorded if data), None)
    manifest, snapshot = _read_manifest(data_dir, snapshot, evaluation.get("snapshot")) if data_dir else (None, None)
    described = parse_object(manifest, f"{data_dir}/{MANIFEST}") if manifest is not None else {}
    rule = f"{data_dir} must be cut as the images of the run: use --data for the dataset that was evaluated"
    trained, evaluated = _trained_cut(config), evaluation.get("cut")
    evaluated = evaluated if isinstance(evaluated, dict) else trained
    check_cut(_manifest_cut(described), evaluated, rule)
    task = _task(config)
    answers = found_file(run_dir, str(evaluation.get("split", _DEFAULT_SPLIT))) if task == FIND else files.predictions
    is_there = answers.is_file()
    return RunFiles(
        run_dir=run_dir,
        config=config,
        history=read_history(run_dir / HISTORY),
        evaluation=evaluation,
        other_evaluations=others,
        predictions=read_predictions(answers) if is_there and task == READ else [],
        data_dir=data_dir,
        manifest=described,
        snapshot=snapshot,
        cut_differences=tuple(differences(evaluated, trained).values()),
        trained_on_it=_trained_on(config, manifest),
        missing=tuple(_missing(run_dir, (files.scores, answers), data_dir, manifest is not None)),
        first_snapshot=_first_snapshot(config, data_dir),
        task=task,
        found=read_found(answers) if is_there and task == FIND else [],
    )


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of history.jsonl: one mapping per epoch, ascending; none if there is no file.

    A last line without a newline is still being written, and is left out.

    Raises:
      UserError: A line is not a JSON object with an integer `epoch`.
      OSError: The file cannot be read.
    """
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    epochs = {}
    for count, line in enumerate(lines, start=1):
        where = f"{path}, line {count}"
        row = parse_object(line, where)
        if type(row.get("epoch")) is not int:
            raise UserError(f"{where} must have an integer epoch.", shorten(str(row.get("epoch"))))
        # A resumed run may repeat an epoch; its later line is that of the weights.
        epochs[row["epoch"]] = row
    return [epochs[epoch] for epoch in sorted(epochs)]


def _evaluations(run_dir: Path, split: str | None) -> tuple[EvaluationFiles, dict[str, Any], list[dict[str, Any]]]:
    """Returns the files of the evaluation to show, its scores, and the scores of the others."""
    every = find_evaluations(run_dir)
    scores = {name: _read_evaluation(files.scores) for name, files in every.items()}
    # The split of an evaluation that an older version wrote is in its content.
    names = {name or str(scores[name].get("split", "")): name for name in reversed(list(every))}
    if split is not None and split not in names:
        raise UserError(f"{run_dir} has evaluations of {', '.join(reversed(names)) or 'no split'}.", f"--split {split}")
    if not names:
        return EvaluationFiles.of_split(run_dir, _DEFAULT_SPLIT), {}, []
    preferred = next((name for name in PREFERRED_SPLITS if name in names), next(iter(names)))
    shown = names[preferred if split is None else split]
    return every[shown], scores[shown], [scores[name] for name in names.values() if name != shown and scores[name]]


def _manifest_cut(manifest: dict[str, Any]) -> Cut:
    config, image = manifest.get("config"), manifest.get("image")
    return cut_of(
        config.get("crop") if isinstance(config, dict) else None,
        image.get("shape") if isinstance(image, dict) else None,
    )


def _trained_cut(config: dict[str, Any]) -> Cut:
    dataset = config.get("dataset")
    return cut_of(dataset.get("crop") if isinstance(dataset, dict) else None, config.get("image_shape"))


def _task(config: dict[str, Any]) -> str:
    dataset = config.get("dataset")
    return FIND if isinstance(dataset, dict) and dataset.get("task") == FIND else READ


def _missing(run_dir: Path, evaluated: Sequence[Path], data_dir: Place | None, has_manifest: bool) -> list[str]:
    makers = {HISTORY: TRAIN, **{path.name: EVALUATE for path in evaluated}}
    lines = [
        f"{name} is missing from {run_dir.resolve().name}; `{maker}` creates it."
        for name, maker in makers.items()
        if not (run_dir / name).is_file()
    ]
    if data_dir is None:
        lines.append("The dataset is unknown: evaluation and config.json do not name it; use `--data DATA`.")
    elif data_dir.is_remote and not has_manifest:
        lines.append(f"The dataset directory {data_dir} cannot be read; use `--data DATA` if it has moved.")
    elif not data_dir.is_remote and not data_dir.is_dir():
        lines.append(f"The dataset directory {data_dir} does not exist; use `--data DATA` if it has moved.")
    elif not has_manifest:
        lines.append(f"manifest.json is missing from {data_dir}; `{PREPARE}` creates it.")
    return lines


def _trained_on(config: dict[str, Any], manifest: bytes | None) -> bool | None:
    """Returns whether a run was trained on the dataset of a manifest; None if either is unknown."""
    dataset = config.get("dataset")
    digest = dataset.get("manifest_sha256") if isinstance(dataset, dict) else None
    if not digest or manifest is None:
        return None
    return bool(digest == hashlib.sha256(manifest).hexdigest())


def _first_snapshot(config: dict[str, Any], data_dir: Place | None) -> int | None:
    """Returns the snapshot that a run began with, if the dataset shown is a stream that has it."""
    dataset = config.get("dataset")
    number = dataset.get("snapshot") if isinstance(dataset, dict) else None
    if type(number) is not int or data_dir is None or not is_stream(data_dir):
        return None
    return number if number in snapshot_numbers(data_dir) else None


def _read_evaluation(path: Path) -> dict[str, Any]:
    evaluation = _read_object(path)
    confusion = evaluation.get("confusion")
    alphabet = evaluation.setdefault("alphabet", DIGITS) if evaluation else DIGITS
    if not isinstance(alphabet, str):
        raise UserError(f"{path}: alphabet must be a text.", shorten(str(alphabet)))
    size = len(alphabet)
    if confusion is not None and not _is_confusion(confusion, size):
        raise UserError(f"{path}: confusion must be a list of {size} lists of {size} counts.", shorten(str(confusion)))
    for name in ("position_accuracy", "by_length"):
        rows = evaluation.get(name) or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{path}: {name} must be a list of objects.", shorten(str(rows)))
    return evaluation


def _is_confusion(value: Any, size: int) -> bool:
    if not isinstance(value, list) or len(value) != size:
        return False
    return all(
        isinstance(row, list) and len(row) == size and all(type(count) is int and count >= 0 for count in row)
        for row in value
    )


def _read_object(path: Path) -> dict[str, Any]:
    content = _read_bytes(path)
    return {} if content is None else parse_object(content, str(path))


def _directory(name: str, path: Path) -> Place:
    """Returns the directory that a file at `path` names; it need not exist.

    Raises:
      UserError: No directory can have this name.
    """
    try:
        found = Place(name)
        if not found.is_remote:
            found.is_dir()
    except OSError as error:
        raise UserError(f"{path}: data must be the path of a directory ({error.strerror}).", shorten(name)) from error
    except UserError as error:
        raise UserError(f"{path}: data must be the path of a directory.", shorten(name)) from error
    return found


def _read_place(file: Place) -> bytes | None:
    """Returns the content of a file; None if there is none, or its place cannot be reached."""
    if not file.is_remote:
        return _read_bytes(file.path)
    try:
        return file.read_bytes()
    except (OSError, UserError):
        return None


def _read_manifest(data_dir: Place, wanted: int | None, evaluated: Any) -> tuple[bytes | None, int | None]:
    """Returns the content of a dataset's manifest, and the number of the snapshot that it is of; None if there is none.

    Args:
      data_dir: Dataset directory or stream.
      wanted: Number of the snapshot that was asked for.
      evaluated: Snapshot of the evaluation; a stream keeps a snapshot for some time only.

    Raises:
      UserError: There is no such snapshot as was asked for.
    """
    if wanted is not None:
        return load_content(data_dir, wanted)[0], wanted
    if type(evaluated) is int:
        with contextlib.suppress(UserError, OSError):
            return load_content(data_dir, evaluated)[0], evaluated
    return _read_place(data_dir / MANIFEST), None


def _read_bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
