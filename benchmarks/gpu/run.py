"""Trains on one device to the end, scores the model, and measures speeds. Import it last, as `step`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.gpu.backends import PRECISIONS
from benchmarks.gpu.flops import peak_flops, step_flops
from benchmarks.gpu.input import Source, device_batches
from benchmarks.gpu.score import split_scores
from benchmarks.gpu.step import Batch, Step, Tensor, make_step, put_on_device, set_precision
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.progress import Progress, progress
from tfrecords.record.labels import Labels
from trainer.fit.optimizer import averaged_weights, make_optimizer, make_schedule
from trainer.input.augment import uniforms_needed
from trainer.models import build_model
from trainer.models.layers import TrainingStandardise
from trainer.run.config import TrainConfig
from trainer.run.directory import labels_text, model_input_shape, reads_length

_WARM_UP = 3
"""Steps before the clock starts: in the first ones JAX and TensorFlow compile and choose kernels."""
_STEPS_PER_LOSS = 20
"""Steps between two readings of the loss, which wait for the device and leave it idle."""
_RESIDENT_SECONDS = 10.0
_SCHEDULE_STEPS = 10


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
      directories: Dataset directories.
      config: Configuration of the training; of its epochs, only the share of warm-up counts.
      precision: Precision out of `PRECISIONS`.
      minutes: Minutes of training, without compiling.
      steps: Number of training steps, instead of `minutes`; 0 to use `minutes`.
      readers: Number of reading processes.
      matrix: Height and width of the matrices that measure the chip's peak.
    """

    directories: tuple[Path, ...]
    config: TrainConfig
    precision: str
    minutes: float
    steps: int
    readers: int
    matrix: int

    def share(self, steps: int, seconds: float) -> float:
        """Returns the share of the training that is done, from 0; it ends at 1."""
        return steps / self.steps if self.steps else seconds / (60 * self.minutes)


@dataclass(frozen=True)
class Pace:
    """A series of timed steps.

    Attributes:
      steps: Number of steps.
      seconds: Time of all steps.
      losses: Losses that were read, nats.
    """

    steps: int
    seconds: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """Result of a job.

    Attributes:
      parameters: Number of the model's weights.
      step_flops: Operations of a training step per image.
      first_seconds: Time of the first `_WARM_UP` steps, including compiling.
      real: All later steps, on real input.
      resident: Steps on a batch that stays on the device.
      peak: Operations per second of large matrix products.
      scores: Directory, split and scores of `trainer.scoring.metrics.score`, for each split.
    """

    parameters: int
    step_flops: int
    first_seconds: float
    real: Pace
    resident: Pace
    peak: float
    scores: tuple[tuple[Path, str, dict[str, Any]], ...]


def run(job: Job) -> Result:
    """Trains, scores and measures.

    Raises:
      UserError: A dataset cannot be read or does not match the others, or the loss is not finite.
    """
    form = _common_form(job.directories)
    shape, labels, _ = form
    set_precision(job.precision)
    keras.utils.set_random_seed(job.config.seed)
    model = build_model(job.config.model, *form)
    _check_model(model)
    optimizer = make_optimizer(job.config, job.config.learning_rate)
    step = make_step(model, optimizer, job.config)
    source = Source(job.directories, job.config.global_batch_size, uniforms_needed(shape[2]), job.config.seed)
    rate = _learning_rate(job.config)
    with device_batches(source, job.readers, put_on_device) as batches:
        start = time.perf_counter()
        first = next(batches)
        for batch in (first, *(next(batches) for _ in range(_WARM_UP - 1))):
            wait(step(batch, rate(0.0)))
        first_seconds = time.perf_counter() - start
        with progress("train", 100, "percent", keep=False) as shown:
            real = _timed(step, batches, rate, job.share, shown)
    step.finish()
    with averaged_weights(model, optimizer):
        scores = tuple(split_scores(model, labels, job.directories, job.config.global_batch_size))
    # This comes last, since it trains on one batch only.
    resident = _timed(step, repeat(first), lambda share: 0.0, _resident_share(job))
    peak = peak_flops(PRECISIONS[job.precision], job.matrix)
    return Result(model.count_params(), step_flops(model), first_seconds, real, resident, peak, scores)


def wait(value: Tensor) -> float:
    """Returns a value from the device, after waiting for its computation."""
    return float(ops.convert_to_numpy(value))


def _check_model(model: keras.Model) -> None:
    """Raises a UserError if a model needs statistics of the dataset or penalties, which these steps do not have."""
    if model.losses or any(isinstance(layer, TrainingStandardise) for layer in model.layers):
        rule = "--model must have neither penalties on weights nor statistics of the training images."
        raise UserError(rule, model.name)


def _common_form(directories: tuple[Path, ...]) -> tuple[tuple[int, int, int], Labels, bool]:
    """Returns what a model for all datasets takes and predicts: image shape, labels, and whether it reads lengths.

    Where crops without a number are in one of the datasets only, the model reads lengths.
    """
    manifests = {directory: Manifest.load(directory) for directory in directories}
    forms = {directory: (model_input_shape(manifest), manifest.labels) for directory, manifest in manifests.items()}
    if len(set(forms.values())) > 1:
        received = ", ".join(f"{path}: {shape}, {labels_text(labels)}" for path, (shape, labels) in forms.items())
        raise UserError("The datasets of --data must have images of one size, and numbers of one form.", received)
    return *forms[directories[0]], any(reads_length(manifest) for manifest in manifests.values())


def _learning_rate(config: TrainConfig) -> Callable[[float], float]:
    """Returns the trainer's schedule as a function of the share of the training that is done.

    The number of steps that fit into the time is not known in advance.
    """
    schedule = make_schedule(config, _SCHEDULE_STEPS)
    rates = [wait(schedule(step)) for step in range(config.epochs * _SCHEDULE_STEPS + 1)]
    shares = np.linspace(0.0, 1.0, len(rates))
    return lambda share: float(np.interp(share, shares, rates))


def _resident_share(job: Job) -> Callable[[int, float], float]:
    """Returns the share of the steps on the resident batch: by time, or by `steps` if that ends sooner."""
    return lambda steps, seconds: max(seconds / _RESIDENT_SECONDS, steps / job.steps if job.steps else 0.0)


def _timed(
    step: Step,
    batches: Iterator[Batch],
    rate: Callable[[float], float],
    share: Callable[[int, float], float],
    shown: Progress | None = None,
) -> Pace:
    """Trains until `share` of (steps, seconds) is 1, but at least one step."""
    steps, done, losses = 0, 0.0, []
    start = time.perf_counter()
    while done < 1:
        loss = step(next(batches), rate(done))
        steps += 1
        done = share(steps, time.perf_counter() - start)
        if steps % _STEPS_PER_LOSS and done < 1:
            continue
        losses.append(wait(loss))
        if not np.isfinite(losses[-1]):
            rule = "The loss must stay finite: a smaller --learning-rate may help."
            raise UserError(rule, f"{losses[-1]} after {steps} steps")
        if shown is not None:
            shown.note(f"step={steps}, loss={losses[-1]:.3f}")
            shown.move_to(int(min(done, 1.0) * 100))
    return Pace(steps, time.perf_counter() - start, tuple(losses))
