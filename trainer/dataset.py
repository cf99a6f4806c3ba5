"""Shards to tf.data: files, records, batches of uint8. Everything on the pixels is the device's work."""

from collections.abc import Callable, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

import tfrecords
from tfrecords.errors import UserError
from tfrecords.features import DYNAMIC_IMAGE, FEATURES
from tfrecords.manifest import Manifest, ShardInfo
from trainer.augment import numbers_needed
from trainer.config import TrainConfig
from trainer.order import (
    WINDOW_FILES,
    Window,
    count_examples,
    epoch_order,
    host_batch_size,
    host_shards,
    make_windows,
    seed_of,
    steps_per_epoch,
)

__all__ = ["Batch", "split_dataset", "steps_per_epoch", "training_dataset"]

_RECORDS_AT_A_TIME = 16
_PREFETCH_BYTES = 32 << 20
"""Of pictures: what the device lives on while the next window is read, some 0.1 s."""

Batch = dict[str, tf.Tensor]


def split_dataset(directory: Path, split: str, batch_size: int) -> tf.data.Dataset:
    """Returns one pass over a split as batches, in stored order.

    Args:
      directory: of the dataset.
      split: to read.
      batch_size: examples a batch, over all replicas.

    Returns:
      Batches of `image` (batch, height, width, channels) uint8, `length` (batch,) int64,
      `digits` (batch, 5) int64 and `key` (batch,) string.

    Raises:
      UserError: not a dataset directory, no such split, nothing in it, or files missing or of a wrong size.
    """
    manifest = _load(directory, split)
    records = tf.data.TFRecordDataset(_paths(directory, manifest.split(split).shards))
    batches = records.batch(batch_size)
    return batches.map(_parser(directory, manifest, split), num_parallel_calls=2, deterministic=True).prefetch(2)


def training_dataset(
    directory: Path, config: TrainConfig, epoch: int, start_step: int = 0, host: int = 0, hosts: int = 1
) -> tf.data.Dataset:
    """Returns one epoch of the training split, shuffled, with the random numbers of its augmentation.

    From a later step on it gives to the byte what it gives there from the beginning, and reads at most one window
    of files in vain. Each host reads files of its own; one that runs out of examples before the others gets empty
    batches until all are done.

    Args:
      directory: of the dataset.
      config: seed and batch size.
      epoch: from 0; each has its own order and numbers.
      start_step: of the epoch, 0 to `steps_per_epoch`.
      host: whose part of each global batch to give, from 0.
      hosts: how many share the work.

    Returns:
      Batches as of `split_dataset`, of at most `global_batch_size / hosts` examples, and `uniform`
      (batch, numbers) float32, 0 to below 1, which follow from seed, epoch, step and place in the global batch.

    Raises:
      UserError: as of `split_dataset`, and where the hosts cannot divide a global batch evenly.
    """
    manifest = _load(directory, "train")
    size, steps = host_batch_size(config, hosts), steps_per_epoch(manifest, config, hosts)
    shards = epoch_order(host_shards(tuple(manifest.split("train").shards), hosts)[host], config.seed, epoch)
    epoch_seed = seed_of(f"{config.seed}/epoch/{epoch}")
    windows = make_windows(shards, epoch_seed, start_step * size)
    nothing = tf.data.Dataset.from_tensors(tf.constant([], tf.string))
    own_steps = max(start_step, -(-count_examples(shards) // size))
    # Whole batches are parsed at once: one by one costs three times as much.
    batches = _shuffled(_paths(directory, shards), windows).batch(size).concatenate(nothing.repeat(steps - own_steps))
    parse = _parser(directory, manifest, "train")

    def make(step: tf.Tensor, records: tf.Tensor) -> Batch:
        batch = parse(records)
        shape = (config.global_batch_size, numbers_needed(batch["image"].shape[-1]))
        # Stateless: a place's numbers are the same whichever steps came before.
        numbers = tf.random.stateless_uniform(shape, tf.stack([tf.constant(epoch_seed, tf.int64), step]))
        return {**batch, "uniform": numbers[host * size :][: tf.size(records)]}

    made = tf.data.Dataset.zip(tf.data.Dataset.range(start_step, steps), batches).map(
        make, num_parallel_calls=2, deterministic=True
    )
    batch_bytes = size * int(np.prod(made.element_spec["image"].shape[1:]))
    made = made.apply(tf.data.experimental.assert_cardinality(steps - start_step))
    return made.with_options(_options()).prefetch(max(2, _PREFETCH_BYTES // batch_bytes))


def _shuffled(paths: Sequence[str], windows: Sequence[Window]) -> tf.data.Dataset:
    """Returns the serialized records of one window after the other, each shuffled."""
    all_paths = tf.constant(paths, tf.string)

    def read(start: tf.Tensor, stop: tf.Tensor, buffer: tf.Tensor, seed: tf.Tensor, skip: tf.Tensor) -> tf.data.Dataset:
        # Shuffling mixes in the process's seed (tf.random.set_seed), which in this function alone is a constant.
        tf.compat.v1.get_default_graph().seed = 1
        files = tf.data.Dataset.from_tensor_slices(all_paths[start:stop])
        # In blocks from several files: where the buffer is smaller than the window, batches are of several still.
        records = files.interleave(tf.data.TFRecordDataset, cycle_length=WINDOW_FILES, block_length=_RECORDS_AT_A_TIME)
        return records.shuffle(buffer, seed, reshuffle_each_iteration=False).skip(skip)

    # A column each: where `skip` took one of several outputs of an operation (tf.unstack), TensorFlow 2.21 crashed.
    columns = np.array([astuple(window) for window in windows], np.int64).reshape(-1, 5).T
    return tf.data.Dataset.from_tensor_slices(tuple(columns)).flat_map(read)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # Nothing is left to tune, and the tuner cost 8 % of a core's examples.
    options.autotune.enabled = False
    # The files are dealt out to the hosts already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


def _load(directory: Path, split: str) -> Manifest:
    manifest = Manifest.load(directory)
    info = manifest.split(split)
    if not info.examples:
        raise UserError(f"The split {split} of {directory} must hold at least one example.", info.examples)
    return manifest


def _paths(directory: Path, shards: Sequence[ShardInfo]) -> list[str]:
    """Returns the files' paths; each is there and as large as the manifest says, or a UserError tells."""
    for shard in shards:
        path = directory / shard.file
        if not path.is_file():
            raise UserError(f"{path}: there is no such shard.")
        if (found := path.stat().st_size) != shard.bytes:
            raise UserError(f"{path} must be of {shard.bytes} bytes, as the manifest states.", found)
    return [str(directory / shard.file) for shard in shards]


def _parser(directory: Path, manifest: Manifest, split: str) -> Callable[[tf.Tensor], Batch]:
    """Returns a function from (batch,) serialized records to a batch; only what training needs is parsed."""
    image_name = DYNAMIC_IMAGE if manifest.image.dynamic else "image"
    spec = {name: _feature(name) for name in ("length", "digits", "key")}
    spec[image_name] = tf.io.FixedLenFeature((), tf.string)
    shape: tuple[int | None, ...] = manifest.image.shape
    if None in shape:
        # The splits' pictures differ in size; those of one split are of one size.
        shape = tfrecords.open(directory, split)[0].image.shape

    def parse(records: tf.Tensor) -> Batch:
        features = tf.io.parse_example(records, spec)
        encoded = features.pop(image_name)
        if manifest.image.encoding == "raw":
            image = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), (tf.size(encoded), *shape))
        else:
            decode = partial(_decode_png, shape=shape)
            image = tf.map_fn(decode, encoded, fn_output_signature=tf.TensorSpec(shape, tf.uint8))
        return {**features, "image": tf.ensure_shape(image, (None, *shape))}

    return parse


def _decode_png(data: tf.Tensor, shape: tuple[int | None, ...]) -> tf.Tensor:
    return tf.ensure_shape(tf.io.decode_png(data, channels=shape[2]), shape)


def _feature(name: str) -> tf.io.FixedLenFeature:
    kind, shape, _ = FEATURES[name]
    return tf.io.FixedLenFeature(shape, {"int64": tf.int64, "bytes": tf.string, "float": tf.float32}[kind])
