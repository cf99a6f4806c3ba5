"""Which snapshots of a stream a run trains on, chosen at its start: the newest, a given one, or another run's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tfrecords.dataset.snapshots import STREAM, is_stream, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.typed_json import parse_object, shorten
from trainer.run.config import TrainConfig
from trainer.run.directory import CONFIG, HISTORY
from trainer.run.stand_in import absolute


@dataclass(frozen=True)
class Chosen:
    """Snapshots that are chosen at the start of a run.

    Attributes:
      first: Number of the snapshot of the first epoch, whose validation split scores all epochs.
      replayed: Numbers of the snapshots of all epochs, of a run that repeats another one; empty otherwise.
    """

    first: int
    replayed: tuple[int, ...] = ()


def choose(data: Place, run_dir: Place, config: TrainConfig, overwrite: bool) -> Chosen | None:
    """Returns the snapshots of a run, or None if its dataset does not grow.

    Those of a run that is there already are the saved ones, however much has arrived since.

    Args:
      data: Dataset directory or stream.
      run_dir: Run directory, in which there may be a run.
      config: Training configuration.
      overwrite: Whether a run that is there is replaced.

    Raises:
      UserError: A setting for streams is given and the dataset is none; the stream has no snapshot yet, or the run to
        repeat has followed no stream.
    """
    if not is_stream(data):
        if config.of_stream:
            raise UserError(f"{config.of_stream[0]} needs a stream: {data} has no {STREAM}.", config.of_stream[0])
        return None
    saved = {} if overwrite else _saved(run_dir)
    if config.replay is not None:
        source = Place(config.replay)
        is_same = saved.get("replay") == absolute(source)
        replayed = _numbers(saved.get("replayed")) if is_same else []
        replayed = replayed or replayed_from(source)
        return Chosen(replayed[0], tuple(replayed))
    if config.at is not None:
        return Chosen(config.at)
    dataset = saved.get("dataset")
    if first := _numbers([dataset.get("snapshot")] if isinstance(dataset, dict) else None):
        return Chosen(first[0])
    return Chosen(newest(data))


def newest(stream: Place) -> int:
    """Returns the number of the newest snapshot of a stream.

    Raises:
      UserError: There is none yet.
    """
    numbers = snapshot_numbers(stream)
    if not numbers:
        raise UserError(f"{stream} has no snapshot yet: the first batch makes one.")
    return numbers[-1]


def replayed_from(run_dir: Place) -> list[int]:
    """Returns the numbers of the snapshots of a run's finished epochs, in order.

    Raises:
      UserError: The place has no run that has followed a stream, or not one that has finished an epoch.
    """
    data = read_bytes(run_dir / HISTORY)
    if data is None:
        rule = f"--replay must be a run that has finished an epoch: {run_dir} has no {HISTORY}."
        raise UserError(rule)
    *lines, _ = data.split(b"\n")
    rows = [parse_object(line, f"{run_dir / HISTORY}, line {count}") for count, line in enumerate(lines, 1)]
    found = _numbers([row.get("snapshot") for row in rows])
    if not found:
        rule = f"--replay must be a run that has followed a stream: the lines of {run_dir / HISTORY} name snapshots."
        raise UserError(rule, shorten(json.dumps(rows[0])) if rows else "no line")
    return found


def _saved(run_dir: Place) -> dict[str, object]:
    """Returns the config.json of a run; empty if there is none, or it is damaged, which its own reader reports."""
    data = read_bytes(run_dir / CONFIG)
    try:
        return {} if data is None else parse_object(data, CONFIG)
    except UserError:
        return {}


def _numbers(values: object) -> list[int]:
    """Returns a list of numbers of snapshots; empty if it is anything else."""
    are_numbers = isinstance(values, Sequence) and all(type(value) is int and value >= 0 for value in values)
    return list(values) if are_numbers and isinstance(values, Sequence) else []
