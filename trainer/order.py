"""Which examples a step takes: an epoch's order over files and hosts, from the manifest alone.

Files come in an order of their own in each epoch, a few at a time: the records of such a window are shuffled
together. So any step can be gone to: the windows before it are not read.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tfrecords.errors import UserError
from tfrecords.manifest import Manifest, ShardInfo
from trainer.config import TrainConfig

WINDOW_FILES = 2
"""A window has at least so many files, so that its batches are of several."""
WINDOW_BYTES = 128 << 20
"""A window takes in further files up to this size, and its shuffle buffer holds no more: memory of a host.

That is two or three shards of prepare's usual 4,096 examples. With 256 MiB a core read a fifth fewer examples of
54x54, with 64 MiB not more.
"""
_UNEVEN = 1.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """Files whose records are shuffled together.

    Attributes:
      start, stop: which of the epoch's files these are, half-open.
      buffer: records in the shuffle buffer; all of the window's, unless they are more than `WINDOW_BYTES`.
      seed: of the shuffling, 0..2**31 - 2.
      skip: how many shuffled records to pass over.
    """

    start: int
    stop: int
    buffer: int
    seed: int
    skip: int


def seed_of(key: str) -> int:
    """Returns a stable seed of 62 bits."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 2


def epoch_order(shards: Sequence[ShardInfo], seed: int, epoch: int) -> list[ShardInfo]:
    """Returns the shards in an epoch's order."""
    return sorted(shards, key=lambda shard: seed_of(f"{seed}/epoch/{epoch}/{shard.file}"))


def make_windows(shards: Sequence[ShardInfo], seed: int, first: int) -> list[Window]:
    """Returns the windows to read, those that lie wholly before the first example left out.

    Args:
      shards: in the epoch's order.
      seed: of the epoch.
      first: how many of the epoch's examples to pass over.
    """
    windows = []
    start = 0
    while start < len(shards):
        stop, size = start, 0
        while stop < len(shards) and (stop < start + WINDOW_FILES or size + shards[stop].bytes <= WINDOW_BYTES):
            size += shards[stop].bytes
            stop += 1
        examples = sum(shard.examples for shard in shards[start:stop])
        if first < examples:
            buffer = min(examples, max(1, WINDOW_BYTES * examples // size))
            # TensorFlow takes seeds modulo 2**31 - 1.
            window_seed = seed_of(f"{seed}/window/{start}") % (2**31 - 1)
            windows.append(Window(start, stop, buffer, window_seed, first))
        first = max(0, first - examples)
        start = stop
    return windows


def host_batch_size(config: TrainConfig, hosts: int) -> int:
    """Returns the examples that each host takes a step.

    Raises:
      UserError: the global batch cannot be divided evenly.
    """
    if config.global_batch_size % hosts:
        raise UserError(f"global_batch_size must be a multiple of the {hosts} hosts.", config.global_batch_size)
    return config.global_batch_size // hosts


def steps_per_epoch(manifest: Manifest, config: TrainConfig, hosts: int = 1) -> int:
    """Returns the steps of every epoch and host: as many as the host with the most examples needs.

    Raises:
      UserError: the dataset has no training split, or the global batch cannot be divided evenly.
    """
    most = max(count_examples(shards) for shards in host_shards(tuple(manifest.split("train").shards), hosts))
    return -(-most // host_batch_size(config, hosts))


def count_examples(shards: Sequence[ShardInfo]) -> int:
    """Returns the examples of all shards."""
    return sum(shard.examples for shard in shards)


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
