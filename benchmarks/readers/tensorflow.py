"""TensorFlow's readers: tf.data, which all others are compared with, and TensorFlow Datasets.

Each function opens a job's examples and returns a `Pass`.
"""

from collections.abc import Collection
from typing import Any

import tensorflow as tf

from benchmarks.readers.job import BATCH, Job, Pass
from tfrecords.record.schema import DYNAMIC_IMAGE, KINDS, features_of

_TYPES = {"int64": tf.int64, "bytes": tf.string, "float": tf.float32}


def tf_data(job: Job) -> Pass:
    """Parses a batch at once, into tensors."""
    records = tf.data.TFRecordDataset([str(path) for path in job.paths]).take(job.examples)
    dataset = records.batch(BATCH).map(parser(job)).with_options(_one_thread())
    return lambda: iter(dataset)


def parser(job: Job, names: Collection[str] = tuple(KINDS)) -> Any:
    """Returns a function from serialized records (batch,) to a batch of the named features."""
    examples = job.open()
    manifest = examples.manifest
    image, features = manifest.image, features_of(manifest.labels, manifest.schema_version)
    source = DYNAMIC_IMAGE if image.dynamic else "image"
    shape = examples[0].image.shape
    spec = {
        source if name == "image" else name: tf.io.FixedLenFeature(feature.shape, _TYPES[feature.kind])
        for name, feature in features.items()
        if name in names
    }

    def parse(records: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.io.parse_example(records, spec)
        encoded = values.pop(source)
        if image.encoding == "raw":
            pixels = tf.reshape(tf.io.decode_raw(encoded, tf.uint8), (-1, *shape))
        else:
            decode = lambda data: tf.ensure_shape(tf.io.decode_png(data, shape[2]), shape)  # noqa: E731
            pixels = tf.map_fn(decode, encoded, fn_output_signature=tf.uint8)
        return {**values, "image": pixels}

    return parse


def _one_thread() -> tf.data.Options:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return options


def tensorflow_datasets(job: Job) -> Pass:
    """Reads batches as NumPy arrays; single examples would take several times as long."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(job.data)
    # By default TFDS keeps small datasets in memory, decoded.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, options=_one_thread())
    split = f"{job.split}[:{job.examples}]"
    dataset = tfds.as_numpy(builder.as_dataset(split=split, batch_size=BATCH, read_config=config))
    return lambda: iter(dataset)
