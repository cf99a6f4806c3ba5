"""The optimizer, its learning rate by step, and its running average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from trainer.run.config import TrainConfig


def make_schedule(config: TrainConfig, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate by step: up along a line, then down to 0 along a cosine.

    Args:
      config: of the training.
      steps: of an epoch.
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
    """Returns the optimizer of a run, not built yet."""
    # Named, or a second one in a process would have a name of its own, and with it its variables in checkpoints.
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=5.0,
        use_ema=config.average > 0,
        ema_momentum=config.average,
        name="adamw",
    )
    # Biases and normalisation's scales have nothing to shrink towards.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@contextmanager
def averaged_weights(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Gives the model its averaged weights within the block, and its own ones back behind it.

    Nothing happens where the optimizer keeps no average. What is not trained (the
    statistics of batch normalisation) is an average already, and stays.
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
