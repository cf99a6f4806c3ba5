"""Compares training steps on real input with steps on batches that are in memory already.

print(compare_steps(Path("svhn-records"), "compact", steps=200, batch_size=16))
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfrecords.dataset.manifest import Manifest
    from trainer.run.config import TrainConfig

_KEPT = 8
"""Batches in memory, which are used again and again."""
WARM_UP = 5
"""Steps that are not measured: the first ones compile."""


@dataclass(frozen=True)
class Steps:
    """Speeds of both kinds of steps.

    Attributes:
      in_memory: Steps per second on batches in memory.
      real: Steps per second on real input.
    """

    in_memory: float
    real: float

    @property
    def ratio(self) -> float:
        """Speed on real input, of that in memory."""
        return self.real / self.in_memory


def compare_steps(data: Path, model_name: str, steps: int, batch_size: int) -> Steps:
    """Trains a model on `data`, one step per kind of batch in turn, and returns the speeds of the median steps.

    The kinds take turns so that a busy machine slows both alike. Reading in the background happens while a step on
    real input runs, or shortly after.
    """
    from tfrecords.dataset.manifest import Manifest

    step, config = model_step(Manifest.load(data), model_name, batch_size)

    from trainer.input.dataset import open_images, training_dataset

    pictures = open_images(data, "train")

    def epochs() -> Iterator[Any]:
        for epoch in count():
            yield from training_dataset(pictures, config, epoch)

    real = epochs()
    in_memory = cycle(list(islice(real, _KEPT)))
    for batch in islice(real, WARM_UP):
        step(batch)
    return _measure(step, in_memory, real, steps)


def model_step(manifest: Manifest, model_name: str, batch_size: int) -> tuple[Callable[[Any], object], TrainConfig]:
    """Returns a step of a new model, which waits for its result as training does, and its configuration.

    Starts TensorFlow, unless it runs already.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from trainer.distribute.startup import start_tensorflow

    start_tensorflow()

    import keras
    import tensorflow as tf

    from trainer.fit.step import make_train_step
    from trainer.models import build_model
    from trainer.run.config import TrainConfig
    from trainer.run.directory import model_input_shape, reads_length

    config = TrainConfig(model=model_name, global_batch_size=batch_size)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.OneDeviceStrategy(devices[0].name)
    with strategy.scope():
        model = build_model(model_name, model_input_shape(manifest), manifest.labels, reads_length(manifest))
        optimizer = keras.optimizers.AdamW(1e-3)
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, optimizer, config)
    return lambda batch: step(batch).numpy(), config


def _measure(step: Callable[[Any], object], in_memory: Iterator[Any], real: Iterator[Any], steps: int) -> Steps:
    """Returns the speeds of the median steps on both kinds of batches, in turn.

    Args:
      step: Function that trains on a batch and waits for the result, as training does.
      in_memory: Batches in memory.
      real: Batches of real input.
      steps: Number of steps per kind.
    """
    seconds: dict[str, list[float]] = {"in_memory": [], "real": []}
    kinds = [("in_memory", in_memory), ("real", real)]
    for _ in range(steps):
        kinds.reverse()  # or the leftover work of one kind would always slow the other
        for name, batches in kinds:
            start = time.perf_counter()
            step(next(batches))
            seconds[name].append(time.perf_counter() - start)
    return Steps(**{name: 1 / median(values) for name, values in seconds.items()})
