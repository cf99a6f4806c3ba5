"""Our doors: `tfrecords.open`, `Batches`, and those to PyTorch and Grain.

Each function opens what it needs and returns what reads all examples once, each time it is called.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.readers.job import BATCH, SEED, Job
from tfrecords.dataset.batches import Batches, epoch_order

Pass = Callable[[], Iterator[Any]]


def in_order(job: Job) -> Pass:
    examples = job.open()
    return lambda: iter(examples)


def unverified(job: Job) -> Pass:
    """Without looking at the records' checksums."""
    examples = job.open(verify=False)
    return lambda: iter(examples)


def by_number(job: Job) -> Pass:
    """One example after the other, each by its number, in random order."""
    examples = job.open()
    order = epoch_order(job.examples, SEED, 0).tolist()
    return lambda: map(examples.__getitem__, order)


def batches(job: Job) -> Pass:
    shuffled = Batches(job.open(), BATCH, SEED)
    return lambda: iter(shuffled)


def torch_dataset(job: Job) -> Pass:
    import torch
    from torch.utils.data import DataLoader

    from tfrecords.torch import DigitDataset

    generator = torch.Generator().manual_seed(SEED)
    loader: DataLoader[Any] = DataLoader(DigitDataset(job.open()), BATCH, shuffle=True, generator=generator)
    return lambda: iter(loader)


def torch_batches(job: Job) -> Pass:
    from torch.utils.data import DataLoader

    from tfrecords.torch import DigitBatches

    loader: DataLoader[Any] = DataLoader(DigitBatches(job.open(), BATCH, SEED), batch_size=None)
    return lambda: iter(loader)


def grain(job: Job) -> Pass:
    from tfrecords.grain import DigitSource

    return shuffled_by_grain(DigitSource(job.open()))


def shuffled_by_grain(source: Any, decode: Callable[[bytes], dict[str, np.ndarray]] | None = None) -> Pass:
    """Returns passes over a source in random order, without threads: on one core they only cost."""
    import grain

    examples = grain.MapDataset.source(source).seed(SEED).shuffle()
    read = (examples.map(decode) if decode else examples).batch(BATCH)
    inline = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return lambda: iter(read.to_iter_dataset(inline))
