"""The commands of both ways, and what their runs have read."""

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.follow.arrivals import Stream, follow
from benchmarks.follow.compare import Scored
from benchmarks.follow.deal import Dealt
from tfrecords.dataset.snapshots import load_manifest
from tfrecords.errors import UserError
from trainer.run.directory import HISTORY
from trainer.run.evaluations import EvaluationFiles
from trainer.scoring.prediction_file import read_predictions

_ROOT = Path(__file__).parents[2]
_SPLIT = "test"
_SOURCE = ("--source", "svhn", "--jitters", "0", "--validation-fraction", "0")
_TRAIN = shlex.split(
    # As docs/accuracy.md fine-tunes on these photos.
    "--warmup-epochs 1 --global-batch-size 32 --learning-rate 0.0015 --zoom 0.2 --stretch 0.2 --rotate 10 --shear 0.2 "
    "--label-smoothing 0.05 --ema-decay 0.995 --keep last"
)


@dataclass(frozen=True)
class Setup:
    """What both ways have in common.

    Attributes:
      output: Folder for all files.
      model: Architecture.
      init: Weights to start from; `none` for random ones.
      per_epoch: Number of batches that arrive in an epoch.
      full_epochs: Number of epochs after the last has arrived.
    """

    output: Path
    model: str
    init: str
    per_epoch: int
    full_epochs: int

    def train(self, run_dir: Path, epochs: int, seed: int, *words: str) -> list[str]:
        """Returns the words after `python -m` of a training."""
        start = () if self.init == "none" else ("--init", self.init)
        command = ["trainer", "train", "--run-dir", str(run_dir), "--epochs", str(epochs), "--seed", str(seed)]
        return [*command, "--model", self.model, *_TRAIN, *start, *words]


def train_and_score(setup: Setup, dealt: Dealt, seeds: int) -> tuple[list[Scored], list[Scored]]:
    """Trains both ways with the seeds 0 to `seeds` - 1, and returns what the runs read: all at once, and followed.

    Args:
      setup: What both ways have in common.
      dealt: Folders of photos.
      seeds: Number of seeds.

    Raises:
      UserError: A command fails, or the snapshots of the epochs are not those that were to be.
    """
    held = setup.output / "held"
    _prepare(dealt.held, held, "--split", _SPLIT)
    followed = [_scored(path, held, stream) for path, stream in _follow(setup, dealt, seeds)]
    photos = setup.output / "records"
    _prepare(dealt.photos, photos)
    pictures = load_manifest(photos).split("train").examples
    epochs = max(1, round(followed[0].examples / pictures))
    at_once = []
    for seed in range(seeds):
        run_dir = setup.output / "runs" / f"at-once-{seed}"
        _run(*setup.train(run_dir, epochs, seed, "--data", str(photos)))
        at_once.append(_scored(run_dir, held, photos))
    return at_once, followed


def _prepare(photos: Path, output: Path, *words: str) -> None:
    _run("beam_jobs", "prepare", *_SOURCE, "--input", str(photos), "--output", str(output), *words)


def _follow(setup: Setup, dealt: Dealt, seeds: int) -> Iterator[tuple[Path, Path]]:
    """Yields the run directory of each seed, trained, and the stream."""
    stream = Stream(setup.output, _SOURCE)
    runs = [setup.output / "runs" / f"followed-{seed}" for seed in range(seeds)]
    growing = math.ceil(len(dealt.batches) / setup.per_epoch)
    epochs = growing + setup.full_epochs
    data = ("--data", str(stream.path))
    words = setup.train(runs[0], epochs, 0, *data, "--follow")
    follow(stream, dealt.batches, setup.per_epoch, runs[0], words)
    _check(runs[0], growing, setup.full_epochs)
    yield runs[0], stream.path
    for seed, run_dir in enumerate(runs[1:], 1):
        _run(*setup.train(run_dir, epochs, seed, *data, "--replay", str(runs[0])))
        yield run_dir, stream.path


def _check(run_dir: Path, growing: int, full_epochs: int) -> None:
    """Raises a UserError if not each of the growing epochs had a snapshot of its own, and the others the last one."""
    seen = [line["snapshot"] for line in _history(run_dir)]
    if len(set(seen[:growing])) != growing or seen[growing:] != seen[growing - 1 : growing] * full_epochs:
        rule = f"The first {growing} epochs of {run_dir} must have snapshots of their own, the others the last of them."
        raise UserError(rule, ", ".join(map(str, seen)))


def _scored(run_dir: Path, held: Path, data: Path) -> Scored:
    """Returns what a run reads of the held-out photos."""
    _run("trainer", "evaluate", "--run-dir", str(run_dir), "--data", str(held), "--split", _SPLIT)
    rows = read_predictions(EvaluationFiles.of_split(run_dir, _SPLIT).predictions)
    history = _history(run_dir)
    examples = sum(load_manifest(data, line.get("snapshot")).split("train").examples for line in history)
    return Scored(len(history), examples, {row.key: row.correct for row in rows})


def _history(run_dir: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in (run_dir / HISTORY).read_text().splitlines()]


def _run(*words: str) -> None:
    """Runs a command of ours.

    Raises:
      UserError: It fails.
    """
    print(f"$ python -m {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", *words], cwd=_ROOT, check=False).returncode
    if code:
        raise UserError(f"python -m {' '.join(words[:2])} must end well.", f"exit code {code}")
