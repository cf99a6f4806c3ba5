"""Pipelines from files to batches of images, lengths and digits: ours, the upper bound, and a common tf.data one.

Each function opens a job's examples and returns a `Pass` over a shuffled epoch.
"""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.readers.job import BATCH, SEED, Job, Pass

_NAMES = ("image", "length", "digits", "key")


def write_arrays(job: Job, folder: Path) -> Path:
    """Writes the features that training needs as arrays, one file per feature, and returns their folder."""
    folder.mkdir()
    examples = job.open()
    width = max(len(example.key.encode()) for example in examples)
    images = np.lib.format.open_memmap(folder / "image.npy", "w+", np.uint8, (job.examples, *examples[0].image.shape))
    rest = {
        "length": np.empty(job.examples, np.int64),
        "digits": np.empty((job.examples, examples[0].digits.size), np.int64),
        "key": np.empty(job.examples, f"S{width}"),
    }
    for index, example in enumerate(examples):
        images[index] = example.image
        for name, array in rest.items():
            array[index] = getattr(example, name)
    images.flush()
    for name, array in rest.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def memory_map(job: Job) -> Pass:
    """Copies rows of memory-mapped arrays, without any format or checksum: the upper bound."""
    arrays = {name: np.load(Path(job.file, f"{name}.npy"), mmap_mode="r") for name in _NAMES}

    def read() -> Iterator[dict[str, np.ndarray]]:
        order = np.random.default_rng(SEED).permutation(job.examples)
        for start in range(0, job.examples, BATCH):
            here = order[start : start + BATCH]
            yield {name: array[here] for name, array in arrays.items()}

    return read


def first_epoch(job: Job) -> Pass:
    """Reads the first epoch of `training_dataset`, which checks every record, with random values for augmentation."""
    open_training = _start_training(job)
    return lambda: open_training()(0)


def training(job: Job) -> Pass:
    """Reads a later epoch of `training_dataset`."""
    epoch = _start_training(job)()
    deque(epoch(0), maxlen=0)
    return lambda: epoch(1)


def _start_training(job: Job) -> Callable[[], Callable[[int], Iterator[Any]]]:
    """Returns a function that opens the training split and returns a function from an epoch's index to its batches."""
    from trainer.distribute.startup import start_tensorflow

    start_tensorflow()  # as `python -m trainer` does: it makes the C library keep freed memory

    from trainer.input.dataset import open_images, training_dataset
    from trainer.run.config import TrainConfig

    config = TrainConfig(global_batch_size=BATCH, seed=SEED)

    def open_training() -> Callable[[int], Iterator[Any]]:
        pictures = open_images(Path(job.data), "train")
        return lambda epoch: iter(training_dataset(pictures, config, epoch))

    return open_training


def as_usual(job: Job) -> Pass:
    """Reads as most tutorials do: parses each record by itself and leaves everything to AUTOTUNE."""
    from trainer.distribute.startup import start_tensorflow

    start_tensorflow()

    import tensorflow as tf

    from benchmarks.readers.tensorflow import parser

    parse = parser(job, _NAMES)

    def parse_one(record: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: value[0] for name, value in parse(record[None]).items()}

    files = [str(path) for path in job.paths]
    records = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE).shuffle(8192, SEED)
    batches = records.map(parse_one, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return lambda: iter(batches)
