"""The running average of a model's weights, which the optimizer keeps: put in the model's place for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


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
