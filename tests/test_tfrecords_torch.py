"""Examples through PyTorch's DataLoader and torchdata's: with any number of workers and ranks, and resumed."""

import copy
import gc
import json
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tfrecords
from tfrecords import Batches, Examples, UserError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'streetdigits[torch]'")
pytest.importorskip("torchdata", reason="torchdata is not installed: pip install 'streetdigits[dev]'")
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from tfrecords.torch import DigitBatches, DigitDataset

ROOT = Path(__file__).parents[1]
ARRAYS = ("digits", "crop_box", "jitter_offset", "source_size", "boxes")
pytestmark = [
    # Three workers on two processors, which is what is tested.
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    # Python from 3.12 on, where another test left threads behind: the workers touch nothing of theirs.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    # torchdata 0.11 still calls what torch 2.15 has retired.
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.fixture
def examples(records: Path) -> Examples:
    """Ten batches of 16, the last one short; of several shards."""
    examples = tfrecords.open(records, "train")[:149]
    assert len(examples) == 149
    return examples


def _loader(stream: DigitBatches, workers: int, **options: Any) -> "DataLoader[Any]":
    context: dict[str, Any] = {"multiprocessing_context": "fork"} if workers else {}
    return DataLoader(stream, batch_size=None, num_workers=workers, **context, **options)


def _stateful(stream: DigitBatches, workers: int, **options: Any) -> "StatefulDataLoader[Any]":
    context: dict[str, Any] = {"multiprocessing_context": "fork"} if workers else {}
    return StatefulDataLoader(stream, batch_size=None, num_workers=workers, **context, **options)


def _keys(batches: Any) -> list[list[str]]:
    return [batch["key"] for batch in batches]


def _expected(examples: Examples, epoch: int = 0, **options: Any) -> list[list[str]]:
    """Returns the keys that an epoch of batches of 16, shuffled with seed 5, must have."""
    return [batch["key"].tolist() for batch in Batches(examples, 16, **{"seed": 5, "epoch": epoch, **options})]


def _refusal(batches: Iterable[Any]) -> str:
    """Returns the text of the error that iterating ends with."""
    try:
        for _ in batches:
            pass
    except UserError as error:
        # Its frames hold the loader's iterator. Where the garbage collector ends that one's workers, it takes ten
        # seconds, with any dataset.
        error.__traceback__ = None
        return str(error)
    raise AssertionError("nothing was refused")


def _assert_equal_batches(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Asserts that a batch of tensors is one of `Batches`."""
    assert list(ours["key"]) == theirs["key"].tolist() and list(ours["text"]) == theirs["text"].tolist()
    assert ours["image"].is_contiguous()
    for name in (*ARRAYS, "length", "image"):
        value = theirs[name].transpose(0, 3, 1, 2) if name == "image" else theirs[name]
        assert ours[name].numpy().dtype == value.dtype, name
        np.testing.assert_array_equal(ours[name].numpy(), value, err_msg=name)
    assert set(ours) == set(theirs)


def negative(item: dict[str, Any]) -> tuple[Any, Any]:
    return 255 - item["image"], item["digits"]


def test_an_item_is_an_example_in_tensors_of_its_own(examples: Examples) -> None:
    dataset = DigitDataset(examples)
    assert len(dataset) == len(examples)
    for number in (0, 7, -1):
        example, item = examples[number], dataset[number]
        height, width, channels = example.image.shape
        assert item["image"].shape == (channels, height, width) and item["image"].is_contiguous()
        np.testing.assert_array_equal(item["image"].permute(1, 2, 0).numpy(), example.image)
        for name in ARRAYS:
            assert item[name].numpy().dtype == getattr(example, name).dtype
            np.testing.assert_array_equal(item[name].numpy(), getattr(example, name), err_msg=name)
        assert item["length"].dtype == torch.int64 and item["length"].shape == () and item["length"] == example.length
        assert (item["key"], item["text"]) == (example.key, example.text)
        assert set(item) == set(example.to_dict())
    with pytest.raises(IndexError):
        dataset[len(examples)]


def test_writing_to_an_item_changes_no_other(examples: Examples) -> None:
    dataset = DigitDataset(examples)
    before = dataset[3]
    spoiled = dataset[3]
    for value in spoiled.values():
        if isinstance(value, torch.Tensor):
            value.fill_(not value if value.dtype == torch.bool else 77)
    for name, value in dataset[3].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, before[name]) and not torch.equal(value, spoiled[name]), name


@pytest.mark.parametrize(("workers", "start"), [(0, None), (2, "fork"), (1, "spawn")])
@pytest.mark.slow
def test_a_loader_of_items_gives_the_batches(examples: Examples, workers: int, start: str | None) -> None:
    loader = DataLoader(DigitDataset(examples), 16, num_workers=workers, multiprocessing_context=start)
    for ours, theirs in zip(loader, Batches(examples, 16), strict=True):
        _assert_equal_batches(ours, theirs)


def test_a_shuffling_loader_gives_each_item_once(examples: Examples) -> None:
    loader = DataLoader(DigitDataset(examples), 16, shuffle=True, num_workers=2, multiprocessing_context="fork")
    keys = [key for batch in _keys(loader) for key in batch]
    stored = [example.key for example in examples]
    assert keys != stored and sorted(keys) == sorted(stored)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_any_number_of_workers_gives_the_batches_in_order(
    examples: Examples, workers: int, drop_remainder: bool
) -> None:
    stream = DigitBatches(examples, 16, seed=5, drop_remainder=drop_remainder)
    stream.set_epoch(2)
    theirs = Batches(examples, 16, seed=5, epoch=2, drop_remainder=drop_remainder)
    assert len(stream) == len(theirs) == len(examples) // 16 + (not drop_remainder)
    for one, other in zip(_loader(stream, workers), theirs, strict=True):
        _assert_equal_batches(one, other)


def test_more_workers_than_batches(examples: Examples) -> None:
    stream = DigitBatches(examples[:5], 4)
    assert _keys(_loader(stream, 3)) == _keys(stream) == [[e.key for e in examples[:4]], [examples[4].key]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_makes_what_is_yielded(examples: Examples, workers: int) -> None:
    (image, digits), *_ = _loader(DigitBatches(examples, 8, transform=negative), workers)
    batch = Batches(examples, 8)[0]
    np.testing.assert_array_equal(image.permute(0, 2, 3, 1).numpy(), 255 - batch["image"])
    np.testing.assert_array_equal(digits.numpy(), batch["digits"])
    item_image, _ = DigitDataset(examples, negative)[1]
    assert torch.equal(item_image, image[1])


def test_another_default_device_changes_nothing(examples: Examples) -> None:
    with torch.device("meta"):
        stream = DigitBatches(examples, 16)
        stream.set_epoch(1)
        assert next(iter(stream))["length"].device.type == DigitDataset(examples)[0]["length"].device.type == "cpu"


def test_each_epoch_has_another_order_and_all_examples(examples: Examples) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    orders = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        orders.append(tuple(key for batch in _keys(stream) for key in batch))
    assert len(set(orders)) == 3
    assert all(sorted(order) == sorted(example.key for example in examples) for order in orders)


@pytest.mark.parametrize("copied", [False, True])
def test_persistent_workers_hear_of_a_new_epoch(examples: Examples, copied: bool) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    if copied:
        stream = pickle.loads(pickle.dumps(stream))
    loader = _loader(stream, 2, persistent_workers=True)
    for epoch in (0, 3, 3, 1):
        stream.set_epoch(epoch)
        assert _keys(loader) == _expected(examples, epoch)
    del loader


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_together_have_each_example_once(examples: Examples, workers: int) -> None:
    keys: list[str] = []
    for rank in range(3):
        stream = DigitBatches(examples, 16, seed=5, rank=rank, world_size=3)
        ours = _keys(_loader(stream, workers))
        assert len(ours) == len(stream) and ours == _expected(examples, rank=rank, world_size=3)
        keys += [key for batch in ours for key in batch]
    assert sorted(keys) == sorted(example.key for example in examples)


def test_slices_deal_a_map_style_dataset_out_to_ranks(examples: Examples) -> None:
    keys = [
        key for rank in range(3) for batch in _keys(DataLoader(DigitDataset(examples[rank::3]), 16)) for key in batch
    ]
    assert sorted(keys) == sorted(example.key for example in examples)


@pytest.mark.slow
def test_ranks_come_from_torch_distributed_and_spawned_workers_hear_of_epochs(records: Path, tmp_path: Path) -> None:
    epochs = (1, 4)
    program = f"""
import json, sys
import torch.distributed
import tfrecords
from tfrecords.torch import DigitBatches
if __name__ == "__main__":
    rank = int(sys.argv[1])
    torch.distributed.init_process_group("gloo", "file://{tmp_path / "meeting"}", rank=rank, world_size=2)
    stream = DigitBatches(tfrecords.open({str(records)!r}, "train"), 16, seed=5)
    # Spawned workers have no process group: the rank must have been asked for before.
    options = dict(num_workers=2, multiprocessing_context="spawn", persistent_workers=True) if rank else {{}}
    loader = torch.utils.data.DataLoader(stream, None, **options)
    for epoch in {epochs}:
        stream.set_epoch(epoch)
        print(json.dumps([batch["key"] for batch in loader]))
    torch.distributed.destroy_process_group()
"""
    script = tmp_path / "rank.py"
    script.write_text(program)
    command = [sys.executable, str(script)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True, env=environment) for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    for rank, output in enumerate(outputs):
        examples = tfrecords.open(records, "train")
        expected = [_expected(examples, epoch, rank=rank, world_size=2) for epoch in epochs]
        assert [json.loads(line) for line in output.splitlines()] == expected


def test_a_state_without_workers_counts_what_was_yielded(examples: Examples) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    stream.set_epoch(2)
    expected = _expected(examples, 2)
    states = [stream.state_dict()] + [stream.state_dict() for _ in _loader(stream, 0)]
    for taken, state in enumerate(states):
        assert (state["epoch"], state["batch"]) == (2, taken)
        other = DigitBatches(examples, 16, seed=5)
        other.load_state_dict(pickle.loads(pickle.dumps(state)))
        assert other.state_dict() == state
        assert _keys(other) == expected[taken:]


@pytest.mark.parametrize(("before", "after"), [(2, 0), (2, 3), (0, 2), (3, 1)])
def test_a_state_that_the_caller_counted_goes_on_with_any_number_of_workers(
    examples: Examples, before: int, after: int
) -> None:
    expected = _expected(examples, 2)
    stream = DigitBatches(examples, 16, seed=5)
    stream.set_epoch(2)
    for taken, batch in enumerate(_loader(stream, before), 1):
        assert batch["key"] == expected[taken - 1]
        if taken == 5:
            break
    state = stream.state_dict(taken=taken)
    other = DigitBatches(examples, 16, seed=5)
    other.load_state_dict(state)
    rest = iter(_loader(other, after))
    assert [next(rest)["key"] for _ in range(4)] == expected[5:9]
    # What is counted is the current iteration's: five before, four now.
    assert other.state_dict(taken=4) == {**state, "batch": 9}
    assert _keys(rest) == expected[9:]


def test_a_state_of_workers_must_be_counted(examples: Examples) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    assert stream.state_dict()["batch"] == 0
    next(iter(_loader(stream, 2)))
    with pytest.raises(UserError, match=r"give state_dict\(taken=...\), or use StatefulDataLoader's own"):
        stream.state_dict()
    with pytest.raises(UserError, match=rf"taken must be 0..{len(stream)}, .* Received: {len(stream) + 1}"):
        stream.state_dict(taken=len(stream) + 1)
    stream.set_epoch(1)
    assert stream.state_dict()["epoch"] == 1


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_only_one_iteration_begins_where_the_state_stands(examples: Examples, workers: int, persistent: bool) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    loader = _loader(stream, workers, persistent_workers=persistent)
    expected = _expected(examples)
    for _ in range(2):
        stream.load_state_dict(stream.state_dict(taken=0) | {"batch": 6})
        assert _keys(loader) == expected[6:]
        assert _keys(loader) == expected
        assert stream.state_dict(taken=3)["batch"] == 3
    del loader


@pytest.mark.parametrize("workers", [0, 2])
def test_set_epoch_keeps_a_state_of_that_epoch_and_drops_any_other(examples: Examples, workers: int) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    state = stream.state_dict() | {"epoch": 3, "batch": 6}
    for epochs, begin in (([3], 6), ([3, 3], 6), ([4], 0), ([4, 3], 0)):
        stream.load_state_dict(state)
        assert stream.state_dict() == state
        for epoch in epochs:
            stream.set_epoch(epoch)
        assert stream.state_dict()["batch"] == begin
        assert _keys(_loader(stream, workers)) == _expected(examples, epochs[-1])[begin:]
        stream.set_epoch(3)
        assert stream.state_dict() == state | {"batch": 0}
        assert _keys(_loader(stream, workers)) == _expected(examples, 3)


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True), (3, False)])
@pytest.mark.slow
def test_stateful_loaders_resume_by_themselves(examples: Examples, workers: int, persistent: bool) -> None:
    expected = _expected(examples, 2)
    for taken in (0, 1, 4, len(expected) - 1):
        stream = DigitBatches(examples, 16, seed=5)
        stream.set_epoch(2)
        loader = _stateful(stream, workers, persistent_workers=persistent)
        batches = iter(loader)
        assert [next(batches)["key"] for _ in range(taken)] == expected[:taken]
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        del batches, loader
        other = DigitBatches(examples, 16, seed=5)
        resumed = _stateful(other, workers, persistent_workers=persistent)
        resumed.load_state_dict(state)
        assert _keys(resumed) == expected[taken:]
        other.set_epoch(3)
        assert _keys(resumed) == _expected(examples, 3)
        del resumed


def test_restored_workers_do_not_mix_their_places_up(examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    # Played in one process, since it hangs on who comes first: one has yielded a batch more than the other.
    stream = DigitBatches(examples, 16, seed=5)
    shares = []
    for place, batch in ((0, 4), (1, 2)):
        worker = SimpleNamespace(id=place, num_workers=2, seed=100 + place)
        shares.append((copy.copy(stream), worker, stream.state_dict() | {"batch": batch}))
    for action in ("load", "iterate"):
        for share, worker, state in shares:
            monkeypatch.setattr("tfrecords.torch.get_worker_info", lambda worker=worker: worker)
            if action == "load":
                share.load_state_dict(state)
            else:
                first = next(iter(share))["key"]
                assert first == _expected(examples)[state["batch"] + worker.id]


@pytest.mark.parametrize("workers", [0, 2])
def test_stateful_loaders_go_on_with_the_next_epoch_after_a_whole_one(examples: Examples, workers: int) -> None:
    stream = DigitBatches(examples, 16, seed=5)
    loader = _stateful(stream, workers)
    assert _keys(loader) == _expected(examples)
    state = loader.state_dict()
    other = DigitBatches(examples, 16, seed=5)
    resumed = _stateful(other, workers)
    resumed.load_state_dict(state)
    other.set_epoch(1)
    assert _keys(resumed) == _expected(examples, 1)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"seed": 6}, "with seed=6. Received: seed=5"),
        ({"batch_size": 8}, "with batch_size=8. Received: batch_size=16"),
        ({"world_size": 2}, "with world_size=2. Received: world_size=1"),
        (
            {"drop_remainder": True, "seed": None},
            "with seed=None, drop_remainder=True. Received: seed=5, drop_remainder",
        ),
    ],
)
def test_a_state_of_other_arguments_is_refused(examples: Examples, changed: dict[str, Any], text: str) -> None:
    state = DigitBatches(examples, 16, seed=5).state_dict()
    other = DigitBatches(examples, **{"batch_size": 16, "seed": 5, **changed})
    with pytest.raises(UserError) as error:
        other.load_state_dict(state)
    assert text in str(error.value)
    assert _keys(other)[0] == Batches(examples, **{"batch_size": 16, "seed": 5, **changed})[0]["key"].tolist()


def test_a_state_of_other_examples_is_refused(examples: Examples, records: Path) -> None:
    state = DigitBatches(examples, 16).state_dict()
    for other in (examples[1:], tfrecords.open(records, "test")):
        with pytest.raises(UserError, match=r"a stream with examples='svhn, .*Received: examples='svhn, train\[0:"):
            DigitBatches(other, 16).load_state_dict(state)
    with pytest.raises(UserError, match="Received: examples=None, seed=None"):
        DigitBatches(examples, 16, seed=1).load_state_dict({})


def test_a_refused_state_comes_out_of_a_worker(examples: Examples) -> None:
    loader = _stateful(DigitBatches(examples, 16, seed=5), 2)
    next(iter(loader))
    other = _stateful(DigitBatches(examples, 16, seed=6), 2)
    other.load_state_dict(loader.state_dict())
    del loader
    assert "with seed=6" in _refusal(other)


def test_numbers_that_make_no_sense_are_refused_at_once(examples: Examples) -> None:
    with pytest.raises(UserError, match=r"rank must be 0..world_size - 1. Received: rank 3 of 3"):
        DigitBatches(examples, 16, rank=3, world_size=3)
    with pytest.raises(UserError, match=r"batch_size must be at least 1\. Received: 0"):
        DigitBatches(examples, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_record_is_named(records: Path, tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in records.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    shard = sorted(folder.glob("*-test.tfrecord-*"))[0]
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    examples = tfrecords.open(folder, "test")
    assert shard.name in _refusal(_loader(DigitBatches(examples, 4), workers))
    assert shard.name in _refusal(DataLoader(DigitDataset(examples), 4, num_workers=workers))


@pytest.mark.slow
def test_torch_reads_without_tensorflow_and_tfrecords_without_torch(records: Path) -> None:
    program = f"""
import sys
for name in ("tensorflow", "apache_beam", "keras", "h5py"):
    sys.modules[name] = None  # any import of it now fails
import tfrecords
assert not {{"torch", "grain", "jax"}} & set(sys.modules)
examples = tfrecords.open({str(records)!r}, "test")
from tfrecords.torch import DigitBatches, DigitDataset
from torch.utils.data import DataLoader
assert sum(len(batch["key"]) for batch in DataLoader(DigitDataset(examples), 6)) == 20
assert sum(len(batch["key"]) for batch in DataLoader(DigitBatches(examples, 6), None, num_workers=2)) == 20
assert "grain" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
