"""Our readers: `tfrecords.open`, `Batches`, and those for PyTorch and Grain.

Each function opens a job's examples and returns a `Pass`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.readers.job import BATCH, SEED, Job, Pass
from tfrecords.dataset.batches import Batches, epoch_order


def in_order(job: Job) -> Pass:
    """Reads single examples in stored order."""
    examples = job.open()
    return lambda: iter(examples)


def unverified(job: Job) -> Pass:
    """Reads in stored order, without verifying the checksums of records."""
    examples = job.open(verify=False)
    return lambda: iter(examples)


def by_index(job: Job) -> Pass:
    """Reads single examples by index, in random order."""
    examples = job.open()
    order = epoch_order(job.examples, SEED, 0).tolist()
    return lambda: map(examples.__getitem__, order)


def batches(job: Job) -> Pass:
    """Reads shuffled batches."""
    shuffled = Batches(job.open(), BATCH, SEED)
    return lambda: iter(shuffled)


def torch_dataset(job: Job) -> Pass:
    """Reads shuffled batches with a `DataLoader` on the map-style dataset."""
    import torch
    from torch.utils.data import DataLoader

    from tfrecords.torch import DigitDataset

    generator = torch.Generator().manual_seed(SEED)
    loader: DataLoader[Any] = DataLoader(DigitDataset(job.open()), BATCH, shuffle=True, generator=generator)
    return lambda: iter(loader)


def torch_batches(job: Job) -> Pass:
    """Reads shuffled batches with a `DataLoader` on complete batches."""
    from torch.utils.data import DataLoader

    from tfrecords.torch import DigitBatches

    loader: DataLoader[Any] = DataLoader(DigitBatches(job.open(), BATCH, SEED), batch_size=None)
    return lambda: iter(loader)


def grain(job: Job) -> Pass:
    """Reads shuffled batches with Grain."""
    from tfrecords.grain import DigitSource

    return shuffled_by_grain(DigitSource(job.open()))


def shuffled_by_grain(source: Any, decode: Callable[[bytes], dict[str, np.ndarray]] | None = None) -> Pass:
    """Returns a pass over a source in random order, without threads, which only cost time on one core."""
    import grain

    examples = grain.MapDataset.source(source).seed(SEED).shuffle()
    read = (examples.map(decode) if decode else examples).batch(BATCH)
    inline = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return lambda: iter(read.to_iter_dataset(inline))
