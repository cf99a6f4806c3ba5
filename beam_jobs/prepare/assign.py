"""Split, shard and order of an annotation, from stable digests of seed and key.

They depend on nothing but the key, the seed and the number of shards, so a picture that is added later moves no other
picture to another split.
"""

from dataclasses import dataclass

from beam_jobs.sources.base import published_split
from tfrecords.digests import stable_digest


def digest(seed: int, purpose: str, key: str) -> int:
    """Returns 64 uniform bits, the same on every machine and independent for each purpose."""
    return stable_digest(f"{seed}/{purpose}/{key}")


@dataclass(frozen=True)
class Fractions:
    """Shares of the training pictures that are drawn for evaluation.

    Attributes:
      validation: Share for the validation split, 0..1.
      test: Share for the test split, 0..1; for sources that publish no test subset.
      every: Split of all pictures, instead of the shares and of the subsets' own splits; None for these.
    """

    validation: float
    test: float
    every: str | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Share of each split, in the order in which they divide the unit interval."""
        # Exactly 0 where nothing is left, whatever the rounding of the difference.
        train = 1 - self.validation - self.test if self.validation + self.test < 1 else 0.0
        return {"test": self.test, "validation": self.validation, "train": train}

    def fixed(self, subset: str) -> str | None:
        """Returns the split of all pictures of a subset; None if they are drawn."""
        return self.every or published_split(subset)


def split_of(subset: str, key: str, seed: int, fractions: Fractions) -> str:
    """Returns the split of a source picture: that of a published test or validation stays, all others are drawn."""
    if fixed := fractions.fixed(subset):
        return fixed
    position = digest(seed, "split", key) / 2**64
    found = "train"
    for split, share in fractions.shares.items():
        # A split without a share gets no picture, not even the one whose position is rounded to 1.
        found = split if share else found
        if position < share:
            break
        position -= share
    return found


def shard_of(key: str, seed: int, shards: int) -> int:
    """Returns the index of a source picture's shard, 0..shards-1; all jitters of the picture go there."""
    return digest(seed, "shard", key) % shards


def order_of(key: str, seed: int) -> tuple[int, str]:
    """Returns the sort key of an example in its shard: random, and different for every example."""
    return digest(seed, "order", key), key
