"""How a dataset is made: one frozen value, saved in the manifest."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from beam_jobs.prepare.assign import Fractions
from beam_jobs.sources.svhn.digit_struct import DIGIT_ORDERS
from tfrecords.dataset.manifest import ImageInfo
from tfrecords.errors import UserError
from tfrecords.images.crop import CropSpec
from tfrecords.record.codec import ENCODINGS


@dataclass(frozen=True)
class PrepareConfig:
    """What decides a dataset's bytes, apart from its pictures; no paths and no runner.

    Attributes:
      source: the published format: svhn.
      name: of the dataset, the first part of its shards' names.
      crop: how pictures are cut.
      whole_crops: whether evaluation pictures are stored as the whole resized crop too, where training pictures are.
      validation_fraction: share of the training pictures that becomes validation.
      test_fraction: share of the training pictures that becomes test.
      seed: of every random choice.
      encoding: of the pixels: raw or png.
      digit_order: of the digits: left or stored.
      examples_per_shard: aimed at; shards are filled by digests, not to the brim.
      shards: of the largest split, or None to follow `examples_per_shard`.
      max_dead_fraction: more rejected pictures than this fail the job, 0..1.
    """

    source: str = "svhn"
    name: str = "svhn"
    crop: CropSpec = field(default_factory=CropSpec)
    whole_crops: bool = False
    validation_fraction: float = 0.05
    test_fraction: float = 0.0
    seed: int = 0
    encoding: str = "raw"
    digit_order: str = "left"
    examples_per_shard: int = 4096
    shards: int | None = None
    max_dead_fraction: float = 0.01

    def __post_init__(self) -> None:
        def check(good: bool, rule: str, received: object) -> None:
            if not good:
                raise UserError(rule, received)

        check(bool(re.fullmatch("[a-z][a-z0-9_]*", self.name)), "name must be of a-z, 0-9 and _.", self.name)
        for option in ("validation_fraction", "test_fraction", "max_dead_fraction"):
            check(0 <= getattr(self, option) <= 1, f"{option} must be 0..1.", getattr(self, option))
        drawn = self.validation_fraction + self.test_fraction
        check(drawn < 1, "validation_fraction and test_fraction must leave something to train on.", drawn)
        check(self.encoding in ENCODINGS, f"encoding must be one of {ENCODINGS}.", self.encoding)
        check(self.digit_order in DIGIT_ORDERS, f"digit_order must be one of {DIGIT_ORDERS}.", self.digit_order)
        check(self.examples_per_shard >= 1, "examples_per_shard must be at least 1.", self.examples_per_shard)
        check(not (self.whole_crops and self.crop.jitters), "whole_crops needs jitters 0.", self.crop.jitters)
        check(self.shards is None or 1 <= self.shards < 100_000, "shards must be 1..99999.", self.shards)

    @property
    def fractions(self) -> Fractions:
        """What is drawn from the training pictures."""
        return Fractions(self.validation_fraction, self.test_fraction)

    def jitters(self, split: str) -> int:
        """Returns how many random windows each picture of a split gets; 0 where it gets one that is not random."""
        return self.crop.jitters if split == "train" else 0

    def image_size(self, split: str) -> int:
        """Returns the height and width of a split's pictures, pixels."""
        is_whole = self.whole_crops or (split == "train" and not self.crop.jitters)
        return self.crop.crop_size if is_whole else self.crop.record_size

    def image_info(self, splits: list[str]) -> ImageInfo:
        """Returns what the pictures of a dataset of these splits are."""
        sizes = {self.image_size(split) for split in splits}
        size = sizes.pop() if len(sizes) == 1 else None
        return ImageInfo((size, size, 3), self.encoding)

    def to_dict(self) -> dict[str, Any]:
        """Returns the values as JSON holds them."""
        return asdict(self)
