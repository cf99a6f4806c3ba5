"""Shards to tf.data: files, records, batches of uint8. Everything on the pixels is the device's work."""

import hashlib
from pathlib import Path

import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.features import DYNAMIC_IMAGE, FEATURES
from tfrecords.manifest import Manifest
from trainer.augment import numbers_needed
from trainer.config import TrainConfig

SHUFFLE_RECORDS = 8192
"""Records in the shuffle buffer, some 12 kB each. They stand in their shards in random order already."""
_FILES_AT_ONCE = 4
_RECORDS_AT_A_TIME = 16

Batch = dict[str, tf.Tensor]


def split_dataset(directory: Path, split: str, batch_size: int, seed: int | None = None) -> tf.data.Dataset:
    """Returns one pass over a split as batches.

    Args:
      directory: of the dataset.
      split: to read.
      batch_size: examples a batch, over all replicas.
      seed: shuffles files and records; another seed for each epoch. None: in stored order.

    Returns:
      Batches of `image` (batch, height, width, channels) uint8, `length` (batch,) int64,
      `digits` (batch, 5) int64 and `key` (batch,) string.

    Raises:
      UserError: not a dataset directory, no such split, or nothing in it.
    """
    manifest = Manifest.load(directory)
    info = manifest.split(split)
    if not info.examples:
        raise UserError(f"The split {split} of {directory} must hold at least one example.", info.examples)
    paths = [str(directory / shard.file) for shard in info.shards]
    if seed is None:
        records = tf.data.TFRecordDataset(paths)
    else:
        files = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), seed)
        # Blocks of records from several files: one file after the other would be batches of one shard.
        records = files.interleave(
            tf.data.TFRecordDataset, cycle_length=_FILES_AT_ONCE, block_length=_RECORDS_AT_A_TIME
        ).shuffle(min(SHUFFLE_RECORDS, info.examples), seed)
    # Whole batches are parsed at once: one by one costs three times as much.
    batches = records.batch(batch_size)
    return batches.map(_parser(manifest), num_parallel_calls=2, deterministic=True).prefetch(2)


def training_dataset(directory: Path, config: TrainConfig, epoch: int) -> tf.data.Dataset:
    """Returns one epoch of the training split, shuffled, with the random numbers of its augmentation.

    Args:
      directory: of the dataset.
      config: seed and batch size.
      epoch: from 0; each has its own order and numbers.

    Returns:
      Batches as of `split_dataset`, and `uniform` (batch, numbers) float32, 0 to below 1.
    """
    channels = Manifest.load(directory).image.shape[2]
    batches = split_dataset(directory, "train", config.global_batch_size, _epoch_seed(config.seed, epoch))

    def add_numbers(index: tf.Tensor, batch: Batch) -> Batch:
        shape = (tf.shape(batch["length"])[0], numbers_needed(channels))
        # Stateless: the numbers of a step follow from seed, epoch and step alone.
        seed = tf.stack([tf.constant(_epoch_seed(config.seed, epoch), tf.int64), index])
        return {**batch, "uniform": tf.random.stateless_uniform(shape, seed)}

    return batches.enumerate().map(add_numbers).prefetch(2)


def _epoch_seed(seed: int, epoch: int) -> int:
    digest = hashlib.blake2b(f"{seed}/epoch/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


def _parser(manifest: Manifest):  # type: ignore[no-untyped-def]  # a tf.data mapping function
    image_name = DYNAMIC_IMAGE if manifest.image.dynamic else "image"
    spec = {name: _feature(name) for name in ("length", "digits", "key", "image/shape")}
    spec[image_name] = tf.io.FixedLenFeature((), tf.string)

    def parse(records: tf.Tensor) -> Batch:
        features = tf.io.parse_example(records, spec)
        encoded = features[image_name]
        # All pictures of a split are of one size.
        shape = tf.concat([tf.shape(encoded), tf.cast(features["image/shape"][0], tf.int32)], 0)
        if manifest.image.encoding == "raw":
            image = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), shape)
        else:
            image = tf.map_fn(lambda data: tf.io.decode_png(data, channels=3), encoded, fn_output_signature=tf.uint8)
        image = tf.ensure_shape(image, (None, *manifest.image.shape))
        return {"image": image, "length": features["length"], "digits": features["digits"], "key": features["key"]}

    return parse


def _feature(name: str) -> tf.io.FixedLenFeature:
    kind, shape, _ = FEATURES[name]
    return tf.io.FixedLenFeature(shape, {"int64": tf.int64, "bytes": tf.string, "float": tf.float32}[kind])
