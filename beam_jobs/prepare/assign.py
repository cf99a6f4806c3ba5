"""Where an annotation goes: split, shard and place, from stable digests of seed and key.

A picture's place depends on nothing but its key, the seed and the number of shards,
so a picture that is added later moves no other to another split.
"""

from dataclasses import dataclass

from tfrecords.digests import stable_digest


def digest(seed: int, purpose: str, key: str) -> int:
    """Returns 64 uniform bits that are the same on every machine, and independent for each purpose."""
    return stable_digest(f"{seed}/{purpose}/{key}")


@dataclass(frozen=True)
class Fractions:
    """What share of the training pictures is drawn for evaluation.

    Attributes:
      validation: for the validation split, 0..1.
      test: for the test split, 0..1; for sources that publish none.
    """

    validation: float
    test: float

    @property
    def shares(self) -> dict[str, float]:
        """The share of each split, in the order in which the unit interval is cut."""
        return {"test": self.test, "validation": self.validation, "train": 1 - self.validation - self.test}


def split_of(subset: str, key: str, seed: int, fractions: Fractions) -> str:
    """Returns the split of a source picture: a published test stays test, all else may be drawn."""
    if subset == "test":
        return "test"
    place = digest(seed, "split", key) / 2**64
    for split, share in fractions.shares.items():
        if place < share:
            return split
        place -= share
    return "train"


def shard_of(key: str, seed: int, shards: int) -> int:
    """Returns the shard of a source picture, 0..shards-1; all its jitters go there."""
    return digest(seed, "shard", key) % shards


def order_of(key: str, seed: int) -> tuple[int, str]:
    """Returns what an example is sorted by in its shard: random, and never a tie."""
    return digest(seed, "order", key), key
