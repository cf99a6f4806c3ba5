"""Optimizer of a run, its learning rate schedule, and the moving average of the weights that it keeps."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from trainer.run.config import TrainConfig


def make_schedule(config: TrainConfig, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate by step: a linear warm-up, then a cosine decay to 0.

    Args:
      config: Training configuration.
      steps: Steps per epoch.
    """
    warmup = min(int(config.warmup_epochs * steps), config.epochs * steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=config.epochs * steps - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def make_optimizer(
    config: TrainConfig, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run, not built yet.

    Args:
      config: Training configuration.
      schedule: Learning rate by step.
    """
    # The name is part of the variables' names in checkpoints. By default a second optimizer in a process gets another.
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=5.0,
        use_ema=config.ema_decay > 0,
        ema_momentum=config.ema_decay,
        name="adamw",
    )
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
