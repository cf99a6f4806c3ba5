"""Optimizer of a run, its learning rate schedule, and the moving average of the weights that it keeps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.run.config import TrainConfig


class ConstantSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """Constant learning rate after a linear warm-up, with an optional inverse decay by step."""

    def __init__(self, learning_rate: float, decay: float = 0.0, warmup_steps: int = 0) -> None:
        """Creates the schedule.

        Args:
          learning_rate: Learning rate after the warm-up.
          decay: Inverse decay per step: n steps after the warm-up the rate is divided by 1 + decay * n.
          warmup_steps: Number of steps of the warm-up.
        """
        super().__init__()
        self.learning_rate, self.decay, self.warmup_steps = learning_rate, decay, warmup_steps

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        falling = self.learning_rate / (1.0 + self.decay * ops.maximum(step - self.warmup_steps, 0.0))
        return falling * ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else falling

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the schedule."""
        return {"learning_rate": self.learning_rate, "decay": self.decay, "warmup_steps": self.warmup_steps}


class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras has no types
    """Learning rate by the share of epochs done, for a run whose epochs have different numbers of steps.

    After a linear warm-up it falls to 0 along a cosine, or stays where the configuration says so or has no last epoch.
    The inverse decay of a constant rate counts the steps of the run.
    """

    def __init__(self, config: TrainConfig) -> None:
        """Creates the schedule. Call it in the strategy's scope, and `begin` before the first step.

        Args:
          config: Training configuration.
        """
        super().__init__()
        self._config = config
        # First step of the epoch, counted over the run; index of the epoch; its number of steps.
        self._epoch = keras.Variable(np.array([0, 0, 1]), dtype="int64", trainable=False, name="epoch")

    def begin(self, step: int, epoch: int, steps: int) -> None:
        """Marks the beginning of an epoch.

        Args:
          step: Number of finished steps at its beginning, counted over the run.
          epoch: Index of the epoch.
          steps: Number of its steps.
        """
        self._epoch.assign(np.array([step, epoch, steps]))

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step of the epoch, counted from 0 over the run."""
        config = self._config
        first, epoch, steps = (ops.cast(self._epoch[index], "int64") for index in range(3))
        within = ops.cast(ops.cast(step, "int64") - first, "float32") / ops.cast(steps, "float32")
        done = ops.cast(epoch, "float32") + within
        warmup = min(config.warmup_epochs, config.epochs) if config.epochs else config.warmup_epochs
        rate: Any = config.learning_rate / (1.0 + config.decay * ops.cast(step, "float32"))
        if config.schedule == "cosine" and config.epochs > warmup:
            share = ops.clip((done - warmup) / (config.epochs - warmup), 0.0, 1.0)
            rate = config.learning_rate * 0.5 * (1.0 + ops.cos(math.pi * share))
        return rate * ops.minimum(done / warmup, 1.0) if warmup else rate

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that recreate the schedule."""
        return {"config": self._config}


def make_schedule(config: TrainConfig, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate by step: a linear warm-up, then a cosine decay to 0, or a constant rate.

    Args:
      config: Training configuration.
      steps: Steps per epoch.
    """
    warmup = min(int(config.warmup_epochs * steps), config.epochs * steps - 1)
    if config.schedule == "constant":
        return ConstantSchedule(config.learning_rate, config.decay, warmup)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=config.epochs * steps - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def make_optimizer(
    config: TrainConfig, schedule: keras.optimizers.schedules.LearningRateSchedule | float
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run, not built yet.

    Args:
      config: Training configuration.
      schedule: Learning rate by step, or a constant one.
    """
    # The name is part of the variables' names in checkpoints. By default a second optimizer in a process gets another.
    options = {
        "learning_rate": schedule,
        "global_clipnorm": config.clip_norm or None,
        "use_ema": config.ema_decay > 0,
        "ema_momentum": config.ema_decay,
        "name": config.optimizer,
    }
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=config.momentum, nesterov=config.nesterov, **options)
    options["epsilon"] = config.epsilon
    if config.optimizer == "adadelta":
        return keras.optimizers.Adadelta(**options)
    if config.optimizer == "adam":
        return keras.optimizers.Adam(**options)
    optimizer = keras.optimizers.AdamW(weight_decay=config.weight_decay, **options)
    # Decay towards 0 makes no sense for biases and the scales of normalisation layers.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@contextmanager
def averaged_weights(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Sets the model's weights to their moving average within the block, and restores them after it.

    Without a moving average the block sees the weights as they are. The statistics of batch normalisation are not
    changed: they are averages already.

    Args:
      model: Model that is changed.
      optimizer: Optimizer of the model, built.
    """
    if not optimizer.use_ema:
        yield
        return
    own = [variable.numpy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)
