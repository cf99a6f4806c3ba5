"""Split, shard and order of an annotation, from stable digests of seed and key.

They depend on nothing but the key, the seed and the number of shards, so a picture that is added later moves no other
picture to another split.
"""

from dataclasses import dataclass

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
    """

    validation: float
    test: float

    @property
    def shares(self) -> dict[str, float]:
        """Share of each split, in the order in which they divide the unit interval."""
        return {"test": self.test, "validation": self.validation, "train": 1 - self.validation - self.test}


def split_of(subset: str, key: str, seed: int, fractions: Fractions) -> str:
    """Returns the split of a source picture: that of a published test stays test, all others may be drawn."""
    if subset == "test":
        return "test"
    position = digest(seed, "split", key) / 2**64
    for split, share in fractions.shares.items():
        if position < share:
            return split
        position -= share
    return "train"


def shard_of(key: str, seed: int, shards: int) -> int:
    """Returns the index of a source picture's shard, 0..shards-1; all jitters of the picture go there."""
    return digest(seed, "shard", key) % shards


def order_of(key: str, seed: int) -> tuple[int, str]:
    """Returns the sort key of an example in its shard: random, and different for every example."""
    return digest(seed, "order", key), key
