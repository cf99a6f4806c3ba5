"""Order of the training examples in an epoch, over files and hosts. It follows from the manifest alone.

Each epoch has its own order of files, divided into windows of a few files. The examples of a window are shuffled
together. So a disk reads complete files, one window after the other, and an epoch can start at any step.
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
"""Fewest files per window, so that a batch mixes several files."""
WINDOW_BYTES = 128 << 20
"""Most bytes of a window with more files: the system should keep them in memory while they are read in random order.

That is two or three shards of 4,096 examples, which is what prepare writes by default.
"""
_UNEVEN = 1.1
"""Ratio of the examples of the fullest host to the mean from which a warning is logged."""
_log = logging.getLogger(__name__)


def seed_of(key: str) -> int:
    """Returns a stable seed of 62 bits for a text."""
    return stable_digest(key) >> 2


def epoch_indices(
    shards: tuple[ShardInfo, ...], seed: int, epoch: int, host: int = 0, hosts: int = 1
) -> NDArray[np.int64]:
    """Returns the indices of a host's examples of an epoch, in the epoch's order: (examples of the host,) int64.

    Args:
      shards: Shards of the split, in stored order.
      seed: Random seed of the run.
      epoch: Index of the epoch.
      host: Index of the host.
      hosts: Number of hosts, among which the files are divided.
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
    """Yields the windows of files that are shuffled together, in the order of `shards`."""
    start = 0
    while start < len(shards):
        stop, size = start, 0
        while stop < len(shards) and (stop < start + WINDOW_FILES or size + shards[stop].bytes <= WINDOW_BYTES):
            size += shards[stop].bytes
            stop += 1
        yield shards[start:stop]
        start = stop


def host_batch_size(config: TrainConfig, hosts: int) -> int:
    """Returns the number of examples per host and step.

    Raises:
      UserError: The global batch size is not a multiple of the number of hosts.
    """
    if config.global_batch_size % hosts:
        raise UserError(f"global_batch_size must be a multiple of the {hosts} hosts.", config.global_batch_size)
    return config.global_batch_size // hosts


def steps_per_epoch(shards: tuple[ShardInfo, ...], config: TrainConfig, hosts: int = 1) -> int:
    """Returns the number of steps per epoch, the same for all hosts: what the host with the most examples needs.

    Raises:
      UserError: The global batch size is not a multiple of the number of hosts.
    """
    most = max(sum(shard.examples for shard in own) for own in host_shards(shards, hosts))
    return -(-most // host_batch_size(config, hosts))


@lru_cache(maxsize=4)  # of a growing dataset, each state has its shards
def host_shards(shards: tuple[ShardInfo, ...], hosts: int) -> list[list[ShardInfo]]:
    """Returns each host's shards, the same in every epoch, with the examples divided as evenly as the files allow.

    Logs a warning, once per process, if the division is uneven.
    """
    parts: list[list[ShardInfo]] = [[] for _ in range(hosts)]
    counts = [0] * hosts
    for shard in sorted(shards, key=lambda shard: (-shard.examples, shard.file)):
        emptiest = counts.index(min(counts))
        parts[emptiest].append(shard)
        counts[emptiest] += shard.examples
    if max(counts) * hosts > _UNEVEN * sum(counts):
        _log.warning(
            "%d hosts share %d training shards unevenly: %d to %d examples per host, and all wait for the fullest. "
            "Prepare the dataset with more shards (--examples-per-shard or --shards).",
            hosts,
            len(shards),
            min(counts),
            max(counts),
        )
    return parts
