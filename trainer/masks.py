"""Dropout masks that follow from seed, layer, step and replica alone.

Keras counts the masks in a state of each layer, which it saves in no format (3.15), and
which is the same in every replica: all would drop the same units.
"""

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from trainer.order import seed_of


def make_masks_stateless(model: keras.Model, seed: int, step: Any) -> None:
    """Has each layer of `model` that draws random numbers draw them from (seed, layer, step, replica).

    Call it before the model is traced. A layer draws the same numbers twice where it is called twice in a step.

    Args:
      model: whose layers may have seed generators.
      seed: of the run.
      step: variable that counts the steps.
    """
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "_seed_generators", None)]
    for place, layer in enumerate(layers):
        for index, generator in enumerate(layer._seed_generators):
            own = seed_of(f"{seed}/mask/{place}/{index}") % (2**31 - 1)
            generator.next = partial(_draw, own, step)


def _draw(seed: int, step: Any, ordered: bool = True) -> tf.Tensor:
    """Returns what `keras.random.SeedGenerator.next` does: (2,) int64, below 2**31 - 1 as Keras wants it."""
    replica = tf.distribute.get_replica_context()
    place = tf.cast(replica.replica_id_in_sync_group, tf.int64)
    count = tf.cast(tf.convert_to_tensor(step), tf.int64) * replica.num_replicas_in_sync + place
    return tf.stack([tf.constant(seed, tf.int64), count])
