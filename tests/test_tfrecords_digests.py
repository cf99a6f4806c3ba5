"""Stable digests: golden values, on which splits, shards, orders and jitters of existing datasets depend."""

import hashlib

import pytest

from tfrecords.dataset.batches import permutation
from tfrecords.digests import stable_digest


@pytest.mark.parametrize(
    ("text", "size", "digest"),
    [
        ("", 8, 0xE4A6A0577479B2B4),
        ("0/jitter/train/1.png#0", 8, 0x1E15B3D1703232F9),
        ("é", 8, 0xCB1ABF8BEFF3192F),
        ("7/epoch/3", 16, 0x332FF30A5560F064B17D43FADA93C576),
        ("", 16, 0xCAE66941D9EFBD404E4D88758EA67670),
    ],
)
def test_digests_are_the_golden_ones(text: str, size: int, digest: int) -> None:
    assert stable_digest(text, size) == digest


def test_the_digest_is_blake2b_of_utf_8_read_from_the_highest_byte() -> None:
    assert stable_digest("é") == int(hashlib.blake2b("é".encode(), digest_size=8).hexdigest(), 16)


def test_the_size_is_eight_bytes_by_default_and_a_shorter_digest_is_no_prefix() -> None:
    assert stable_digest("svhn") == stable_digest("svhn", 8) < 1 << 64
    assert stable_digest("svhn", 16) >> 64 != stable_digest("svhn", 8)


def test_an_order_is_the_golden_one() -> None:
    assert permutation(10, "7/epoch/3").tolist() == [3, 2, 7, 8, 9, 4, 6, 0, 5, 1]
