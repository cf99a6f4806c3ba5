"""A training on one device: to its end, scored, and its speed. Import it last, as `step`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from benchmarks.gpu.backends import PRECISIONS
from benchmarks.gpu.flops import peak_flops, step_flops
from benchmarks.gpu.input import Source, device_batches
from benchmarks.gpu.score import split_scores
from benchmarks.gpu.step import Batch, Step, Tensor, make_step, put_on_device, set_precision
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from trainer.fit.optimizer import averaged_weights, make_optimizer, make_schedule
from trainer.input.augment import uniforms_needed
from trainer.models import build_model
from trainer.run.config import TrainConfig
from trainer.run.directory import model_input_shape

_WARM_UP = 3
"""Steps before the clock starts: JAX and TensorFlow compile in the first, and choose kernels."""
_LOOK = 20
"""Steps between two looks at the loss, which wait for the device: at each step it would idle meanwhile."""
_RESIDENT_SECONDS = 10.0
_SCHEDULE_STEPS = 10


@dataclass(frozen=True)
class Job:
    """What to train.

    Attributes:
      directories: of the datasets.
      config: of the training; its epochs count nothing but the share of them that warms up.
      precision: one of `PRECISIONS`.
      minutes: of training, without what compiling takes.
      steps: of training in place of `minutes`; 0: those decide.
      readers: processes that read.
      matrix: size of the products that the chip's peak is measured with.
    """

    directories: tuple[Path, ...]
    config: TrainConfig
    precision: str
    minutes: float
    steps: int
    readers: int
    matrix: int

    def share(self, steps: int, seconds: float) -> float:
        """Returns how much of the training is done, from 0; at 1 it ends."""
        return steps / self.steps if self.steps else seconds / (60 * self.minutes)


@dataclass(frozen=True)
class Pace:
    """Steps that were timed, and the losses seen at looks, nats."""

    steps: int
    seconds: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """What came of a job.

    Attributes:
      parameters: of the model.
      step_flops: operations of a training step for each picture.
      first_seconds: of the first `_WARM_UP` steps, compiling included.
      real: all steps after those, on real input.
      resident: steps on a batch that stays on the device.
      peak: operations a second of large products.
      scores: of each split: directory, split and what `trainer.scoring.metrics.score` gives.
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
      UserError: a dataset cannot be read or does not fit the others, or the loss is not finite.
    """
    shape = _common_shape(job.directories)
    set_precision(job.precision)
    keras.utils.set_random_seed(job.config.seed)
    model = build_model(job.config.model, shape)
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
        with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}{postfix}", leave=False) as bar:
            real = _timed(step, batches, rate, job.share, bar)
    step.finish()
    with averaged_weights(model, optimizer):
        scores = tuple(split_scores(model, job.directories, job.config.global_batch_size))
    # Last, because it trains on one batch only.
    resident = _timed(step, repeat(first), lambda share: 0.0, _resident_share(job))
    peak = peak_flops(PRECISIONS[job.precision], job.matrix)
    return Result(model.count_params(), step_flops(model), first_seconds, real, resident, peak, scores)


def wait(value: Tensor) -> float:
    """Returns a number from the device, when all that it takes is computed."""
    return float(ops.convert_to_numpy(value))


def _common_shape(directories: tuple[Path, ...]) -> tuple[int, int, int]:
    """Returns the shape of pictures that a model of all datasets takes."""
    shapes = {directory: model_input_shape(Manifest.load(directory)) for directory in directories}
    if len(set(shapes.values())) > 1:
        received = ", ".join(f"{directory}: {shape}" for directory, shape in shapes.items())
        raise UserError("The datasets of --data must be of one size of pictures.", received)
    return shapes[directories[0]]


def _learning_rate(config: TrainConfig) -> Callable[[float], float]:
    """Returns the trainer's schedule as a function of the share of the training that is done.

    Of the share, since how many steps a time allows is not known before.
    """
    schedule = make_schedule(config, _SCHEDULE_STEPS)
    rates = [wait(schedule(step)) for step in range(config.epochs * _SCHEDULE_STEPS + 1)]
    shares = np.linspace(0.0, 1.0, len(rates))
    return lambda share: float(np.interp(share, shares, rates))


def _resident_share(job: Job) -> Callable[[int, float], float]:
    """Returns when the steps on the resident batch end: like the training where that is of `steps`, if it is sooner."""
    return lambda steps, seconds: max(seconds / _RESIDENT_SECONDS, steps / job.steps if job.steps else 0.0)


def _timed(
    step: Step,
    batches: Iterator[Batch],
    rate: Callable[[float], float],
    share: Callable[[int, float], float],
    bar: Any = None,
) -> Pace:
    """Trains until `share` of (steps, seconds) is 1; at least one step."""
    steps, done, losses = 0, 0.0, []
    start = time.perf_counter()
    while done < 1:
        loss = step(next(batches), rate(done))
        steps += 1
        done = share(steps, time.perf_counter() - start)
        if steps % _LOOK and done < 1:
            continue
        losses.append(wait(loss))
        if not np.isfinite(losses[-1]):
            rule = "The loss must stay finite: a smaller --learning-rate may help."
            raise UserError(rule, f"{losses[-1]} after {steps} steps")
        if bar is not None:
            bar.set_postfix(step=steps, loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update(min(done, 1.0) * 100 - bar.n)
    return Pace(steps, time.perf_counter() - start, tuple(losses))
