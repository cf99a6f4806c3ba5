"""Batches of uint8 images as tf.data datasets. Everything done to the pixels runs on the device."""

from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.files.place import Place
from trainer.input.augment import uniforms_needed
from trainer.input.cached import CachedImages
from trainer.input.records import Records
from trainer.input.scenes import MOST_NUMBERS, Images, SceneImages
from trainer.input.shuffle import epoch_indices, host_batch_size, seed_of, steps_per_epoch
from trainer.run.config import TrainConfig

__all__ = ["Batch", "open_images", "split_dataset", "training_dataset"]

_PREFETCH_BYTES = 32 << 20
"""Bytes of images to prefetch: enough for the 0.1 s or so in which a new shard is scanned."""

_DECODERS = 8
"""Batches of scenes that are decoded at once: a JPEG file takes a millisecond or two, without Python's lock."""

Batch = dict[str, tf.Tensor]


def open_images(directory: Place | Path, split: str) -> ImageCache:
    """Returns the images and labels of one split of a dataset directory, its files checked.

    Raises:
      UserError: The directory is not a dataset directory; the dataset has no such split, the split is empty, or a file
        is missing or of the wrong size.
    """
    return Records.open(directory).images(split)


def split_dataset(images: Images, batch_size: int) -> tf.data.Dataset:
    """Returns one pass over a split as batches, in stored order.

    Args:
      images: Images of the split.
      batch_size: Examples per batch, over all replicas.

    Returns:
      Batches of `image` (batch, height, width, channels) uint8, `length` (batch,) int64,
      `digits` (batch, longest) int64 and `key` (batch,) string. In place of the digits, pictures of scenes have `boxes`
      (batch, `MOST_NUMBERS`, 4) float32, `content` and `source` (batch, 2) int64, and their length is the number of
      boxes: see `trainer.input.scenes.Scenes`.
    """
    indices = np.arange(len(images))
    if isinstance(images, CachedImages):
        images.expect(indices)
    return _batches(images, indices, batch_size, range(-(-len(indices) // batch_size))).prefetch(2)


def training_dataset(
    images: Images, config: TrainConfig, epoch: int, start_step: int = 0, host: int = 0, hosts: int = 1
) -> tf.data.Dataset:
    """Returns one epoch of the training split, shuffled, with the random values of its augmentation.

    An epoch started at a later step gives the same bytes from there as one started at its beginning, and skips the
    shuffle windows before that step without reading them. Each host reads its own files. A host that runs out of
    examples before the others gets empty batches until all are done.

    Args:
      images: Images of the training split. Hand in the same object in every epoch: it scans each shard once.
      config: Training configuration, for its seed and batch size.
      epoch: Index of the epoch; each has its own order and random values.
      start_step: First step of the epoch, 0 to `steps_per_epoch`.
      host: Index of the host.
      hosts: Number of hosts.

    Returns:
      Batches as of `split_dataset`, of at most `global_batch_size / hosts` examples, with `uniform`
      (batch, `uniforms_needed`) float32, 0 to below 1. It depends on the seed, the epoch, the step and the position in
      the global batch alone.

    Raises:
      UserError: The global batch size is not a multiple of the number of hosts.
    """
    size, steps = host_batch_size(config, hosts), steps_per_epoch(images.shards, config, hosts)
    indices = epoch_indices(images.shards, config.seed, epoch, host, hosts)
    epoch_seed = seed_of(f"{config.seed}/epoch/{epoch}")

    def add_uniform(step: tf.Tensor, batch: Batch) -> Batch:
        shape = (config.global_batch_size, uniforms_needed(images.shape[-1]))
        # Stateless: the values do not depend on which steps were drawn before.
        uniform = tf.random.stateless_uniform(shape, tf.stack([tf.constant(epoch_seed, tf.int64), step]))
        return {**batch, "uniform": uniform[host * size :][: tf.size(batch["length"])]}

    images.start_epoch()
    if isinstance(images, CachedImages):
        # The next epoch's first shards arrive while this one ends.
        following = epoch_indices(images.shards, config.seed, epoch + 1, host, hosts)
        images.expect(indices[start_step * size :], following)
    batches = _batches(images, indices, size, range(start_step, steps))
    numbered = tf.data.Dataset.zip(tf.data.Dataset.range(start_step, steps), batches)
    batch_bytes = size * int(np.prod(images.shape))
    return numbered.map(add_uniform).with_options(_options()).prefetch(max(2, _PREFETCH_BYTES // batch_bytes))


def _batches(images: Images, indices: NDArray[np.int64], size: int, steps: range) -> tf.data.Dataset:
    """Returns the batches of these steps, `size` of `indices` each; the last ones have fewer or none."""
    # A tensor, not a closure over the array: TensorFlow never frees a Python function or what it refers to (2.21).
    order = tf.constant(indices)
    take = partial(_take_scenes, images) if isinstance(images, SceneImages) else partial(_take_images, images)
    parallel = _DECODERS if isinstance(images, SceneImages) else 2

    def make(step: tf.Tensor) -> Batch:
        return take(order[step * size : (step + 1) * size])

    # Two parallel calls, for PNGs: they are decoded outside Python.
    return tf.data.Dataset.range(steps.start, steps.stop).map(make, num_parallel_calls=parallel, deterministic=True)


def _take_images(images: ImageCache, indices: tf.Tensor) -> Batch:
    """Returns a batch of images with their labels."""
    longest = images.labels.max_length
    dtypes = (tf.uint8 if images.is_raw else tf.string, tf.int64, tf.int64, tf.string)
    image, length, digits, key = tf.numpy_function(images.take, [indices], dtypes, stateful=False)
    if not images.is_raw:
        decode = partial(tf.io.decode_png, channels=images.shape[-1])
        image = tf.map_fn(
            decode, tf.ensure_shape(image, (None,)), fn_output_signature=tf.TensorSpec(images.shape, tf.uint8)
        )
    return {
        "image": tf.ensure_shape(image, (None, *images.shape)),
        "length": tf.ensure_shape(length, (None,)),
        "digits": tf.ensure_shape(digits, (None, longest)),
        "key": tf.ensure_shape(key, (None,)),
    }


def _take_scenes(images: SceneImages, indices: tf.Tensor) -> Batch:
    """Returns a batch of pictures with the boxes of their numbers."""
    dtypes = (tf.uint8, tf.int64, tf.float32, tf.int64, tf.int64, tf.string)
    image, length, boxes, content, source, key = tf.numpy_function(images.take, [indices], dtypes, stateful=False)
    return {
        "image": tf.ensure_shape(image, (None, *images.shape)),
        "length": tf.ensure_shape(length, (None,)),
        "boxes": tf.ensure_shape(boxes, (None, MOST_NUMBERS, 4)),
        "content": tf.ensure_shape(content, (None, 2)),
        "source": tf.ensure_shape(source, (None, 2)),
        "key": tf.ensure_shape(key, (None,)),
    }


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # There is nothing left to tune, and autotuning cost 8 % of a core's examples.
    options.autotune.enabled = False
    # `epoch_indices` has divided the files among the hosts already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
