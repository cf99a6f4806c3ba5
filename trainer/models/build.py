"""What the layers of a model compute in, given when they are built."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Has the layers that are built in the block compute in `precision`, one of `trainer.run.config.PRECISIONS`.

    Weights are float32 in any case, and so are the outputs of our models, whose last layers say so: what is saved
    fits a model that is built without this.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
