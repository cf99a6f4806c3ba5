"""Splits, shards and places from stable digests."""

import hashlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.prepare.assign import Fractions, digest, order_of, shard_of, split_of
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.plan import make_plan
from beam_jobs.sources.base import Subset
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import CropSpec

KEYS = [f"train/{number}.png" for number in range(1, 10_001)]


def test_the_digest_is_blake2b_of_seed_purpose_and_key() -> None:
    expected = hashlib.blake2b(b"7/split/train/1.png", digest_size=8).digest()
    assert digest(7, "split", "train/1.png") == int.from_bytes(expected, "big")


def test_splits_get_their_shares_and_a_published_test_stays_test() -> None:
    fractions = Fractions(validation=0.1, test=0.2)
    splits = [split_of("train", key, 0, fractions) for key in KEYS]
    # Six standard deviations of 10,000 draws are 240 and 180.
    assert abs(splits.count("test") - 2000) < 240 and abs(splits.count("validation") - 1000) < 180
    assert {split_of("test", key, 0, fractions) for key in KEYS} == {"test"}


def test_a_larger_validation_share_moves_pictures_to_validation_only_from_train() -> None:
    small = [split_of("train", key, 0, Fractions(0.1, 0.2)) for key in KEYS]
    large = [split_of("train", key, 0, Fractions(0.2, 0.2)) for key in KEYS]
    moves = {(old, new) for old, new in zip(small, large, strict=True) if old != new}
    assert moves == {("train", "validation")}


def test_shards_are_filled_evenly_and_independently_of_splits() -> None:
    shards = [shard_of(key, 0, 8) for key in KEYS if split_of("train", key, 0, Fractions(0.5, 0)) == "train"]
    for shard in range(8):
        assert abs(shards.count(shard) - len(shards) / 8) < 6 * (len(shards) / 8) ** 0.5


def test_the_order_mixes_the_jitters_of_pictures() -> None:
    keys = [f"train/{picture}.png#{jitter}" for picture in range(200) for jitter in range(5)]
    ordered = sorted(keys, key=lambda key: order_of(key, 0))
    beside = sum(a.split("#")[0] == b.split("#")[0] for a, b in itertools.pairwise(ordered))
    # By chance 4 of 999 neighbours are of one picture; in file order 800 are.
    assert beside < 20 and sorted(ordered) == sorted(keys)


def _plan(**options: Any) -> dict[str, int]:
    subsets = (
        Subset("train", "in/train", 33_402, ""),
        Subset("test", "in/test", 13_068, ""),
        Subset("extra", "x", 202_353, ""),
    )
    return make_plan(PrepareConfig(**options), subsets, Place("out")).shards


def test_shards_follow_from_the_examples_expected() -> None:
    assert _plan(validation_fraction=0.0) == {"train": round(5 * 235_755 / 4096), "test": 3}
    assert _plan(shards=64)["train"] == 64
    assert _plan(crop=CropSpec(jitters=0), examples_per_shard=10**9) == {"train": 1, "validation": 1, "test": 1}


def test_every_entry_is_in_exactly_one_range() -> None:
    plan = make_plan(PrepareConfig(), (Subset("train", "a", 2500, ""), Subset("test", "b", 1000, "")), Place("out"))
    entries = [(r.subset.name, entry) for r in plan.ranges for entry in range(r.start, r.stop)]
    assert sorted(entries) == sorted([("train", e) for e in range(2500)] + [("test", e) for e in range(1000)])


def test_a_source_without_pictures_is_refused() -> None:
    with pytest.raises(UserError, match="must name at least one picture"):
        make_plan(PrepareConfig(), (Subset("train", str(Path("in")), 0, ""),), Place("out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "My Data"}, r"name must be of a-z, 0-9 and _\. Received: My Data"),
        ({"validation_fraction": 1.5}, r"validation_fraction must be 0\.\.1\. Received: 1\.5"),
        ({"validation_fraction": float("nan")}, r"validation_fraction must be 0\.\.1\. Received: nan"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, r"must leave something to train on\. Received: 1\.0"),
        ({"encoding": "jpeg"}, "encoding must be one of"),
        ({"digit_order": "right"}, "digit_order must be one of"),
        ({"examples_per_shard": 0}, "examples_per_shard must be at least 1"),
        ({"shards": 0}, r"shards must be 1\.\.99999"),
        ({"max_dead_fraction": -1}, r"max_dead_fraction must be 0\.\.1"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PrepareConfig(**options)
