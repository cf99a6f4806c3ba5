"""A run directory → what it holds, checked; every file but config.json may be missing."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError
from trainer.report.gallery import Prediction, read_predictions
from trainer.run.directory import CONFIG, EVALUATION, HISTORY, PREDICTIONS

TRAIN = "python -m trainer train --data DATA --run-dir RUN"
EVALUATE = "python -m trainer evaluate --run-dir RUN"
PREPARE = "python -m beam_jobs prepare"


@dataclass(frozen=True)
class RunFiles:
    """What a run directory and its dataset hold; empty or None where a file is missing.

    Attributes:
      run_dir: the run directory.
      config: the training configuration, as saved.
      history: one mapping an epoch, ascending; a repeated epoch counts once, as last written.
      evaluation: the scores, as saved.
      predictions: the answers, in dataset order.
      data_dir: where the evaluated pictures are or were.
      manifest: the dataset's manifest, as saved.
      trained_on_it: the model was trained on exactly this dataset; None when a file does not tell.
      missing: a line for each missing file, with the command that makes it.
    """

    run_dir: Path
    config: dict[str, Any]
    history: list[dict[str, Any]]
    evaluation: dict[str, Any]
    predictions: list[Prediction]
    data_dir: Path | None
    manifest: dict[str, Any]
    trained_on_it: bool | None
    missing: tuple[str, ...]


def load_run(run_dir: Path, data_dir: Path | None = None) -> RunFiles:
    """Reads a run directory and the manifest of its dataset.

    Args:
      run_dir: a directory with config.json.
      data_dir: the dataset directory; None takes the one that evaluation.json, or else config.json, names.

    Raises:
      UserError: there is no config.json, `data_dir` does not exist, or a file is broken.
    """
    if not (run_dir / CONFIG).is_file():
        raise UserError(f"{run_dir} is not a run directory: it has no config.json; `{TRAIN}` makes one.", run_dir)
    if data_dir is not None and not data_dir.is_dir():
        raise UserError("--data must be a dataset directory that exists.", data_dir)
    config, evaluation = _read_object(run_dir / CONFIG), _read_evaluation(run_dir / EVALUATION)
    recorded = evaluation.get("data") or config.get("data")
    data_dir = data_dir or (Path(str(recorded)) if recorded else None)
    predictions = run_dir / PREDICTIONS
    return RunFiles(
        run_dir=run_dir,
        config=config,
        history=read_history(run_dir / HISTORY),
        evaluation=evaluation,
        predictions=read_predictions(predictions) if predictions.is_file() else [],
        data_dir=data_dir,
        manifest=_read_object(data_dir / MANIFEST) if data_dir else {},
        trained_on_it=_trained_on(config, data_dir),
        missing=tuple(_missing(run_dir, data_dir)),
    )


def read_history(path: Path) -> list[dict[str, Any]]:
    """Reads history.jsonl: one mapping an epoch, ascending; an empty list when there is no file.

    A last line without its newline is still being written and is left out.

    Raises:
      UserError: a line is not a JSON object with a whole number `epoch`.
    """
    if not path.is_file():
        return []
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    epochs = {}
    for count, line in enumerate(lines, start=1):
        where = f"{path}, line {count}"
        row = _parse_object(line, where)
        if type(row.get("epoch")) is not int:
            raise UserError(f"{where} must have a whole number epoch.", row.get("epoch"))
        # A resumed run may train an epoch again; the later line is what the weights saw.
        epochs[row["epoch"]] = row
    return [epochs[epoch] for epoch in sorted(epochs)]


def _missing(run_dir: Path, data_dir: Path | None) -> list[str]:
    makers = {HISTORY: TRAIN, EVALUATION: EVALUATE, PREDICTIONS: EVALUATE}
    lines = [
        f"{name} is missing from {run_dir.resolve().name}; `{maker}` makes it."
        for name, maker in makers.items()
        if not (run_dir / name).is_file()
    ]
    if data_dir is None:
        lines.append("The dataset is not known: evaluation.json and config.json do not name it; `--data DATA` does.")
    elif not data_dir.is_dir():
        lines.append(f"The dataset directory {data_dir} is gone; `--data DATA` names another place.")
    elif not (data_dir / MANIFEST).is_file():
        lines.append(f"manifest.json is missing from {data_dir}; `{PREPARE}` makes it.")
    return lines


def _trained_on(config: dict[str, Any], data_dir: Path | None) -> bool | None:
    dataset = config.get("dataset")
    digest = dataset.get("manifest_sha256") if isinstance(dataset, dict) else None
    if not digest or data_dir is None or not (data_dir / MANIFEST).is_file():
        return None
    return bool(digest == hashlib.sha256((data_dir / MANIFEST).read_bytes()).hexdigest())


def _read_evaluation(path: Path) -> dict[str, Any]:
    evaluation = _read_object(path)
    confusion = evaluation.get("confusion")
    if confusion is not None and not _is_confusion(confusion):
        raise UserError(f"{path}: confusion must be a list of 10 lists of 10 counts.", confusion)
    for name in ("position_accuracy", "by_length"):
        rows = evaluation.get(name) or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{path}: {name} must be a list of objects.", rows)
    return evaluation


def _is_confusion(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 10:
        return False
    return all(
        isinstance(row, list) and len(row) == 10 and all(type(count) is int and count >= 0 for count in row)
        for row in value
    )


def _read_object(path: Path) -> dict[str, Any]:
    return _parse_object(path.read_bytes(), str(path)) if path.is_file() else {}


def _parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} must be JSON.", error) from error
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a JSON object.", value)
    return value
