"""Which examples a step takes: an epoch's order over files and hosts, from the manifest alone.

Files come in an order of their own in each epoch, a few at a time: the examples of such a window are shuffled
together. So a disk reads whole files, one window after the other, and any step can be gone to.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.batches import permutation
from tfrecords.dataset.manifest import ShardInfo
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from trainer.run.config import TrainConfig

WINDOW_FILES = 2
"""A window has at least so many files, so that its batches are of several."""
WINDOW_BYTES = 128 << 20
"""A window takes in further files up to this size: what the system is to keep of them while it is read in random order.

That is two or three shards of prepare's usual 4,096 examples.
"""
_UNEVEN = 1.1
_log = logging.getLogger(__name__)


def seed_of(key: str) -> int:
    """Returns a stable seed of 62 bits."""
    return stable_digest(key) >> 2


def epoch_numbers(
    shards: tuple[ShardInfo, ...], seed: int, epoch: int, host: int = 0, hosts: int = 1
) -> NDArray[np.int64]:
    """Returns which examples of a split a host takes in an epoch, in its order: (its examples,) int64.

    Args:
      shards: of the split, in stored order.
      seed: of the run.
      epoch: from 0.
      host: from 0.
      hosts: that share the split by its files.
    """
    ends = accumulate(shard.examples for shard in shards)
    starts = {shard.file: end - shard.examples for shard, end in zip(shards, ends, strict=True)}
    own = sorted(host_shards(shards, hosts)[host], key=lambda shard: seed_of(f"{seed}/epoch/{epoch}/{shard.file}"))
    parts = [np.empty(0, np.int64)]
    for window in windows(own):
        stored = np.concatenate([np.arange(shard.examples) + starts[shard.file] for shard in window])
        parts.append(stored[permutation(len(stored), f"{seed}/epoch/{epoch}/{window[0].file}")])
    return np.concatenate(parts)


def windows(shards: Sequence[ShardInfo]) -> Iterator[Sequence[ShardInfo]]:
    """Yields the files that are shuffled together, in the epoch's order."""
    start = 0
    while start < len(shards):
        stop, size = start, 0
        while stop < len(shards) and (stop < start + WINDOW_FILES or size + shards[stop].bytes <= WINDOW_BYTES):
            size += shards[stop].bytes
            stop += 1
        yield shards[start:stop]
        start = stop


def host_batch_size(config: TrainConfig, hosts: int) -> int:
    """Returns the examples that each host takes a step.

    Raises:
      UserError: the global batch cannot be divided evenly.
    """
    if config.global_batch_size % hosts:
        raise UserError(f"global_batch_size must be a multiple of the {hosts} hosts.", config.global_batch_size)
    return config.global_batch_size // hosts


def steps_per_epoch(shards: tuple[ShardInfo, ...], config: TrainConfig, hosts: int = 1) -> int:
    """Returns the steps of every epoch and host: as many as the host with the most examples needs.

    Raises:
      UserError: the global batch cannot be divided evenly.
    """
    most = max(sum(shard.examples for shard in own) for own in host_shards(shards, hosts))
    return -(-most // host_batch_size(config, hosts))


@lru_cache
def host_shards(shards: tuple[ShardInfo, ...], hosts: int) -> list[list[ShardInfo]]:
    """Returns each host's shards, the same in every epoch: as many examples for each as can be.

    Where that is not even, a warning says so, once in a process.
    """
    parts: list[list[ShardInfo]] = [[] for _ in range(hosts)]
    counts = [0] * hosts
    for shard in sorted(shards, key=lambda shard: (-shard.examples, shard.file)):
        emptiest = counts.index(min(counts))
        parts[emptiest].append(shard)
        counts[emptiest] += shard.examples
    if max(counts) * hosts > _UNEVEN * sum(counts):
        _log.warning(
            "%d hosts share %d training shards unevenly: %d to %d examples a host, and all wait for the fullest one. "
            "Prepare the dataset with more shards: --examples-per-shard or --shards.",
            hosts,
            len(shards),
            min(counts),
            max(counts),
        )
    return parts
