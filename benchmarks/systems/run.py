"""Runs a system with one seed: its three commands one after the other, what they cost, and what they reached."""

import argparse
import json
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.systems.catalogue import SYSTEMS, commands, require_pictures, run_directory
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.typed_json import from_json, parse_object
from trainer.commands.train import add_arguments
from trainer.run.directory import Run
from trainer.run.evaluations import EvaluationFiles
from trainer.run.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]
_SPLIT = "test"
"""Split that the figures are of; no run is trained on it."""


@dataclass(frozen=True)
class Result:
    """What one run reached and cost.

    Attributes:
      system: Name of the system.
      seed: Random seed of the training.
      training_pictures: Number of pictures of the split train.
      test_pictures: Number of pictures of the split test.
      weights: Number of weights of the model, those that are not trained included.
      accuracy: Whole-number accuracy on the split test, 0 to 1.
      seconds: Wall-clock time of `train`, seconds.
      processor_seconds: Processor time of `train`, over all cores, seconds.
      resumed: Whether an earlier start of the training was stopped, whose time is not in the figures.
    """

    system: str
    seed: int
    training_pictures: int
    test_pictures: int
    weights: int
    accuracy: float
    seconds: float
    processor_seconds: float
    resumed: bool


def run_system(name: str, data: Path, output: Path, seed: int) -> Result:
    """Returns the result of one run of a system, which is prepared, trained and scored unless it was before.

    Commands print to the terminal. Both `prepare` and `train` resume what was stopped.

    Args:
      name: Name of the system.
      data: Folder with the pictures' folders.
      output: Folder for records, runs and results.
      seed: Random seed of the training.

    Raises:
      UserError: The system's pictures are missing, the file of its result is damaged, or its run has other settings.
      RuntimeError: A command failed.
    """
    words = commands(name, data, output, seed)
    directory = run_directory(output, name, seed)
    path = directory.with_name(f"{directory.name}.json")
    if path.is_file() and directory.is_dir():
        _check_settings(directory, words.train)
        return from_json(Result, parse_object(path.read_bytes(), str(path)), str(path))
    require_pictures(name, data)
    _run(words.prepare)
    resumed = directory.exists()
    seconds, processor_seconds = _run(words.train)
    _run(words.evaluate)
    found = _found(directory, output / SYSTEMS[name].data)
    result = Result(name, seed, **found, seconds=seconds, processor_seconds=processor_seconds, resumed=resumed)
    with atomic_write(path) as stream:
        stream.write((json.dumps(asdict(result), indent=2) + "\n").encode())
    return result


def _check_settings(directory: Path, words: Sequence[str]) -> None:
    """Raises a UserError if a run was trained with other settings than those of a command, as after a new recipe."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    # The first two words name the command.
    wanted = Settings.read(None, vars(parser.parse_args(words[2:]))).config
    if Run.load(directory).config != wanted:
        raise UserError("The run has other settings than the system has now: remove it to train it again.", directory)


def _run(words: Sequence[str]) -> tuple[float, float]:
    """Runs a command of ours and returns its wall-clock and processor time, seconds.

    Raises:
      RuntimeError: The command failed.
    """
    print(f"$ python -m {shlex.join(words)}", flush=True)
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    code = subprocess.run([sys.executable, "-m", *words], cwd=_ROOT).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise RuntimeError(f"python -m {shlex.join(words)} ended with exit code {code}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, used


def _found(directory: Path, records: Path) -> dict[str, Any]:
    """Returns the fields of a result that the files of a run and of its dataset hold."""
    scores = EvaluationFiles.of_split(directory, _SPLIT).scores
    splits = Manifest.load(records).splits
    return {
        "training_pictures": splits["train"].pictures,
        "test_pictures": splits[_SPLIT].pictures,
        "weights": Run.load(directory).content["parameters"],
        "accuracy": parse_object(scores.read_bytes(), str(scores))["whole_number_accuracy"],
    }
