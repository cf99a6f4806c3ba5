"""Shards to tf.data: batches of uint8. Everything on the pixels is the device's work."""

from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.errors import UserError
from tfrecords.record.schema import MAX_LENGTH
from trainer.input.augment import numbers_needed
from trainer.input.shuffle import epoch_numbers, host_batch_size, seed_of, steps_per_epoch
from trainer.run.config import TrainConfig

__all__ = ["Batch", "open_pictures", "split_dataset", "training_dataset"]

_PREFETCH_BYTES = 32 << 20
"""Of pictures: what the device lives on while a shard is looked through, some 0.1 s."""

Batch = dict[str, tf.Tensor]


def open_pictures(directory: Path, split: str) -> ImageCache:
    """Returns a split's pictures; whether all its files are there and whole is seen now, not in the midst of an epoch.

    Raises:
      UserError: not a dataset directory, no such split, nothing in it, or files missing or of a wrong size.
    """
    pictures = ImageCache(directory, split)
    for shard in pictures.shards:
        path = directory / shard.file
        if not path.is_file():
            raise UserError(f"{path}: there is no such shard.")
        if (found := path.stat().st_size) != shard.bytes:
            raise UserError(f"{path} must be of {shard.bytes} bytes, as the manifest states.", found)
    return pictures


def split_dataset(pictures: ImageCache, batch_size: int) -> tf.data.Dataset:
    """Returns one pass over a split as batches, in stored order.

    Args:
      pictures: of the split.
      batch_size: examples a batch, over all replicas.

    Returns:
      Batches of `image` (batch, height, width, channels) uint8, `length` (batch,) int64,
      `digits` (batch, 5) int64 and `key` (batch,) string.
    """
    numbers = np.arange(len(pictures))
    return _batches(pictures, numbers, batch_size, range(-(-len(numbers) // batch_size))).prefetch(2)


def training_dataset(
    pictures: ImageCache, config: TrainConfig, epoch: int, start_step: int = 0, host: int = 0, hosts: int = 1
) -> tf.data.Dataset:
    """Returns one epoch of the training split, shuffled, with the random numbers of its augmentation.

    From a later step on it gives to the byte what it gives there from the beginning, and reads nothing of the windows
    before. Each host reads files of its own; one that runs out of examples before the others gets empty batches until
    all are done.

    Args:
      pictures: of the training split, the same in all epochs: a record is looked through once.
      config: seed and batch size.
      epoch: from 0; each has its own order and numbers.
      start_step: of the epoch, 0 to `steps_per_epoch`.
      host: whose part of each global batch to give, from 0.
      hosts: how many share the work.

    Returns:
      Batches as of `split_dataset`, of at most `global_batch_size / hosts` examples, and `uniform`
      (batch, numbers) float32, 0 to below 1, which follow from seed, epoch, step and place in the global batch.

    Raises:
      UserError: the hosts cannot divide a global batch evenly.
    """
    size, steps = host_batch_size(config, hosts), steps_per_epoch(pictures.shards, config, hosts)
    numbers = epoch_numbers(pictures.shards, config.seed, epoch, host, hosts)
    epoch_seed = seed_of(f"{config.seed}/epoch/{epoch}")

    def add_uniform(step: tf.Tensor, batch: Batch) -> Batch:
        shape = (config.global_batch_size, numbers_needed(pictures.shape[-1]))
        # Stateless: a place's numbers are the same whichever steps came before.
        uniform = tf.random.stateless_uniform(shape, tf.stack([tf.constant(epoch_seed, tf.int64), step]))
        return {**batch, "uniform": uniform[host * size :][: tf.size(batch["length"])]}

    pictures.start_epoch()
    batches = _batches(pictures, numbers, size, range(start_step, steps))
    made = tf.data.Dataset.zip(tf.data.Dataset.range(start_step, steps), batches).map(add_uniform)
    batch_bytes = size * int(np.prod(pictures.shape))
    return made.with_options(_options()).prefetch(max(2, _PREFETCH_BYTES // batch_bytes))


def _batches(pictures: ImageCache, numbers: NDArray[np.int64], size: int, steps: range) -> tf.data.Dataset:
    """Returns the batches of these steps: each of the next `size` of `numbers`, of fewer or none where they end."""
    # As data: TensorFlow never lets go of a Python function, nor of what that holds (2.21).
    order = tf.constant(numbers)
    kinds = (tf.uint8 if pictures.is_raw else tf.string, tf.int64, tf.int64, tf.string)

    def make(step: tf.Tensor) -> Batch:
        here = order[step * size : (step + 1) * size]
        image, length, digits, key = tf.numpy_function(pictures.take, [here], kinds, stateful=False)
        if not pictures.is_raw:
            decode = partial(tf.io.decode_png, channels=pictures.shape[-1])
            image = tf.map_fn(
                decode, tf.ensure_shape(image, (None,)), fn_output_signature=tf.TensorSpec(pictures.shape, tf.uint8)
            )
        return {
            "image": tf.ensure_shape(image, (None, *pictures.shape)),
            "length": tf.ensure_shape(length, (None,)),
            "digits": tf.ensure_shape(digits, (None, MAX_LENGTH)),
            "key": tf.ensure_shape(key, (None,)),
        }

    # Two calls, for PNGs: these are decoded without holding up Python.
    return tf.data.Dataset.range(steps.start, steps.stop).map(make, num_parallel_calls=2, deterministic=True)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # Nothing is left to tune, and the tuner cost 8 % of a core's examples.
    options.autotune.enabled = False
    # The files are dealt out to the hosts already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
