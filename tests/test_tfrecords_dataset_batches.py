"""Batches: every example once, in an order that is the same on every machine."""

import itertools
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from tests.examples import make_example
from tfrecords import Batches, Examples, UserError
from tfrecords.cli import main
from tfrecords.dataset.batches import epoch_order
from tfrecords.record.codec import encode
from tfrecords.record.collate import stack, stack_by_layout
from tfrecords.record.fast_decode import UnknownLayoutError

ATTRIBUTES = {
    "key",
    "image",
    "digits",
    "length",
    "crop_box",
    "jitter_offset",
    "source_size",
    "boxes",
    "has_digit_boxes",
    "text",
}


@pytest.fixture(scope="module")
def examples(records: Path) -> Examples:
    return tfrecords.open(records, "train")


@pytest.fixture(scope="module")
def keys(examples: Examples) -> list[str]:
    return [example.key for example in examples]


def _keys(batches: Batches) -> list[str]:
    return [key for batch in batches for key in batch["key"].tolist()]


def test_a_batch_holds_its_examples_attributes_as_arrays(examples: Examples) -> None:
    batch = Batches(examples, 32)[1]
    assert set(batch) == ATTRIBUTES
    shapes = {"image": (54, 54, 3), "digits": (5,), "crop_box": (4,), "boxes": (5, 4), "length": (), "key": ()}
    for name, shape in shapes.items():
        assert batch[name].shape == (32, *shape), name
    assert [batch[name].dtype for name in ("image", "digits", "length", "boxes")] == ["uint8", "int64", "int64", "f4"]
    for row, example in enumerate(examples[32:64]):
        for name, value in example.to_dict().items():
            np.testing.assert_array_equal(batch[name][row], value)


def test_without_a_seed_examples_stand_in_stored_order(examples: Examples, keys: list[str]) -> None:
    assert _keys(Batches(examples, 7)) == keys
    assert _keys(Batches(examples, 7, epoch=3)) == keys


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 240, 241])
@pytest.mark.parametrize("seed", [None, 5])
def test_all_ranks_together_have_every_example_once(
    examples: Examples, keys: list[str], world_size: int, seed: int | None
) -> None:
    ranks = [Batches(examples, 16, seed, 2, rank, world_size) for rank in range(world_size)]
    sizes = [len(batches.order) for batches in ranks]
    assert max(sizes) - min(sizes) <= 1
    found = [_keys(batches) for batches in ranks] if world_size < 240 else []
    assert all(len(of_rank) == size for of_rank, size in zip(found, sizes, strict=False))
    assert sorted(np.concatenate([batches.order for batches in ranks]).tolist()) == list(range(240))
    if found:
        assert sorted(itertools.chain(*found)) == sorted(keys)


@pytest.mark.parametrize(("batch_size", "world_size"), [(16, 1), (16, 2), (7, 3), (100, 2), (121, 2), (241, 1)])
def test_with_drop_remainder_batches_are_full_and_every_rank_has_as_many(
    examples: Examples, batch_size: int, world_size: int
) -> None:
    ranks = [Batches(examples, batch_size, 1, 0, rank, world_size, True) for rank in range(world_size)]
    found = [_keys(batches) for batches in ranks]
    expected = 240 // (batch_size * world_size)
    assert [len(batches) for batches in ranks] == [expected] * world_size
    assert all(len(batch["key"]) == batch_size for batches in ranks for batch in batches)
    assert [len(of_rank) for of_rank in found] == [expected * batch_size] * world_size
    assert len(set(itertools.chain(*found))) == expected * batch_size * world_size, "none twice"


def test_without_drop_remainder_only_the_last_batch_is_shorter(examples: Examples) -> None:
    batches = Batches(examples, 100, seed=1)
    assert len(batches) == 3 and [len(batch["key"]) for batch in batches] == [100, 100, 40]
    assert [len(batch["key"]) for batch in Batches(examples, 240)] == [240]


def test_epochs_differ_and_leave_out_others(examples: Examples, keys: list[str]) -> None:
    epochs = [_keys(Batches(examples, 100, seed=1, epoch=epoch, drop_remainder=True)) for epoch in range(4)]
    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    left_out = [frozenset(keys) - set(epoch) for epoch in epochs]
    assert len(set(left_out)) == 4 and {len(left) for left in left_out} == {40}


def test_the_same_seed_and_epoch_give_the_same_order(examples: Examples) -> None:
    assert _keys(Batches(examples, 16, seed=9, epoch=1)) == _keys(Batches(examples, 60, seed=9, epoch=1))
    assert _keys(Batches(examples, 16, seed=9, epoch=1)) != _keys(Batches(examples, 16, seed=10, epoch=1))


@pytest.mark.parametrize(
    ("count", "seed", "epoch", "expected"),
    [
        (8, 0, 0, [1, 3, 2, 6, 4, 7, 0, 5]),
        (8, 0, 1, [5, 3, 2, 6, 1, 0, 4, 7]),
        (8, 1, 0, [1, 3, 5, 0, 6, 7, 2, 4]),
        (12, 123456789, 7, [7, 10, 8, 6, 3, 0, 2, 9, 5, 1, 4, 11]),
        (5, None, 3, [0, 1, 2, 3, 4]),
        (1, 0, 0, [0]),
        (0, 0, 0, []),
    ],
)
def test_the_order_is_this_one_for_ever(count: int, seed: int | None, epoch: int, expected: list[int]) -> None:
    order = epoch_order(count, seed, epoch)
    assert order.tolist() == expected and order.dtype == np.int64


def test_an_epochs_order_is_a_permutation_without_a_pattern() -> None:
    order = epoch_order(100_000, 0, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(100_000))
    assert abs(np.corrcoef(order, np.arange(100_000))[0, 1]) < 0.02
    assert abs(np.corrcoef(order, epoch_order(100_000, 0, 1))[0, 1]) < 0.02
    # A random permutation keeps one number in its place on average.
    assert np.count_nonzero(order == np.arange(100_000)) < 10


def test_batches_are_a_sequence(examples: Examples) -> None:
    batches = Batches(examples, 50, seed=2)
    assert batches[-1]["key"].tolist() == batches[4]["key"].tolist() == batches[np.int64(4)]["key"].tolist()
    for part in (slice(1, 3), slice(None, None, -2), slice(-1, None)):
        numbers = range(5)[part]
        assert [batch["key"].tolist() for batch in batches[part]] == [batches[n]["key"].tolist() for n in numbers]
    for number in (5, -6):
        with pytest.raises(IndexError):
            batches[number]
    with pytest.raises(TypeError):
        batches[1.0]


def test_batches_read_in_any_order_are_the_same(examples: Examples) -> None:
    batches = Batches(examples, 16, seed=4)
    numbers = list(range(len(batches)))
    random.Random(0).shuffle(numbers)
    found = {number: batches[number]["key"].tolist() for number in numbers}
    assert [found[number] for number in range(len(batches))] == [batch["key"].tolist() for batch in batches]


def test_a_slice_of_a_split_is_dealt_out_alone(examples: Examples, keys: list[str]) -> None:
    part = examples[30:200:3]
    found = [_keys(Batches(part, 8, seed=1, rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(itertools.chain(*found)) == sorted(keys[30:200:3])


def test_no_example_is_no_batch(examples: Examples) -> None:
    for drop in (False, True):
        batches = Batches(examples[:0], 8, seed=1, drop_remainder=drop)
        assert len(batches) == 0 and list(batches) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"^batch_size must be at least 1\. Received: 0$"),
        ({"batch_size": -3}, r"^batch_size must be at least 1\. Received: -3$"),
        ({"rank": 2, "world_size": 2}, r"^rank must be 0\.\.world_size - 1\. Received: rank 2 of 2$"),
        ({"rank": -1}, r"^rank must be 0\.\.world_size - 1\. Received: rank -1 of 1$"),
        ({"world_size": 0}, r"^rank must be 0\.\.world_size - 1\. Received: rank 0 of 0$"),
    ],
)
def test_numbers_that_make_no_sense_are_named(examples: Examples, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Batches(examples, **{"batch_size": 8, **options})


def test_pictures_of_two_sizes_are_no_batch() -> None:
    with pytest.raises(
        UserError, match=r"^train/1\.png#0: the images of one batch must have one size.*\(5, 5, 3\) and \(6, 6, 3\)"
    ):
        stack([make_example(), make_example(size=5)])


def test_a_damaged_record_is_named_also_where_iterating_would_skip_it(records: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(records, tmp_path / "copy"))
    shard = next(copy.glob("*-train.tfrecord-00000-*"))
    data = bytearray(shard.read_bytes())
    data[1000] ^= 4
    shard.write_bytes(data)
    batches = Batches(tfrecords.open(copy, "train", on_error="skip"), 16)
    with pytest.raises(UserError, match=rf"^{shard}: record 0 at byte 0: the record's checksum is wrong"):
        batches[0]
    assert len(batches[1]["key"]) == 16


def test_fewer_attributes_are_the_same_as_among_all(examples: Examples) -> None:
    whole = Batches(examples, 50, seed=4)
    names = ("length", "image", "text")
    for batch, other in zip(Batches(examples, 50, seed=4, names=names), whole, strict=True):
        assert tuple(batch) == names
        for name in names:
            np.testing.assert_array_equal(batch[name], other[name])


def test_an_attribute_that_there_is_not_is_named(examples: Examples) -> None:
    rule = r"^names must be among key, image, .*, boxes, has_digit_boxes, text\. Received: label, colour$"
    with pytest.raises(UserError, match=rule):
        Batches(examples, 50, names=("image", "label", "colour"))
    with pytest.raises(UserError, match=rule):
        examples.batch([0], ("label", "colour"))


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_batch_of_examples_is_what_they_are_one_by_one(encoding: str, drawn: Path, tmp_path: Path) -> None:
    options = ["--source", "svhn", "--input", str(drawn), "--output", str(tmp_path / "svhn"), "--encoding", encoding]
    assert main("beam_jobs", "", COMMANDS, ["prepare", *options]) == 0
    examples = tfrecords.open(tmp_path / "svhn", "train")
    numbers = [7, -1, 0, 7]
    batch, stacked = examples.batch(numbers), stack([examples[number] for number in numbers])
    assert list(batch) == list(stacked)
    for name, array in batch.items():
        assert array.dtype == stacked[name].dtype and array.flags.writeable
        np.testing.assert_array_equal(array, stacked[name])
    with pytest.raises(IndexError):
        examples.batch([0, len(examples)])
    with pytest.raises(UserError, match=r"^A batch must hold at least one example\. Received: 0$"):
        examples.batch([])


def test_a_batch_of_raw_and_png_records_is_read_one_by_one() -> None:
    data = [encode(make_example()), encode(make_example(), "png")]
    for records in (data, data[::-1], [encode(make_example()), encode(make_example(size=5))]):
        with pytest.raises(UnknownLayoutError):
            stack_by_layout(records, 2)
