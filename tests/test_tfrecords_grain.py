"""Examples through Grain: in order, shuffled, sharded, with worker processes, and resumed."""

import multiprocessing
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfrecords
from tfrecords import Batches, Examples, UserError
from tfrecords.grain import DigitSource

grain = pytest.importorskip("grain", reason="Grain is not installed: pip install 'streetdigits[grain]'")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def examples(records: Path) -> Examples:
    return tfrecords.open(records, "train")


def _loader(examples: Examples, shards: tuple[int, int] = (0, 1), workers: int = 0, **options: Any) -> Any:
    sampler = grain.samplers.IndexSampler(
        len(examples), shard_options=grain.sharding.ShardOptions(*shards), num_epochs=1, **{"seed": 5, **options}
    )
    return grain.DataLoader(
        data_source=DigitSource(examples),
        sampler=sampler,
        operations=[grain.transforms.Batch(16)],
        worker_count=workers,
    )


def _keys(batches: Any) -> list[list[str]]:
    return [batch["key"].tolist() for batch in batches]


def _assert_equal_batches(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        assert isinstance(value, np.ndarray)
        assert value.dtype.kind == "U" or value.dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_an_element_is_an_example_in_arrays(examples: Examples) -> None:
    source = DigitSource(examples)
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    assert len(source) == len(examples)
    for number in (0, 7):
        element, example = source[number], examples[number].to_dict()
        assert set(element) == set(example)
        for name, value in element.items():
            assert isinstance(value, np.ndarray)
            assert value.dtype == np.asarray(example[name]).dtype
            np.testing.assert_array_equal(value, example[name], err_msg=name)
    with pytest.raises(IndexError):
        source[len(examples)]


def test_unshuffled_batches_are_those_of_the_stored_order(examples: Examples) -> None:
    dataset = grain.MapDataset.source(DigitSource(examples)).batch(16)
    # 16 threads read ahead in the second.
    for batches in (dataset, dataset.to_iter_dataset()):
        for ours, theirs in zip(batches, Batches(examples, 16), strict=True):
            _assert_equal_batches(ours, theirs)


def test_a_shuffled_epoch_is_whole_and_the_same_each_time(examples: Examples) -> None:
    def epochs(seed: int) -> list[list[str]]:
        dataset = grain.MapDataset.source(DigitSource(examples)).seed(seed).shuffle().repeat(2)
        keys = [str(element["key"]) for element in dataset.to_iter_dataset()]
        return [keys[: len(examples)], keys[len(examples) :]]

    first, second = epochs(1)
    stored = [example.key for example in examples]
    assert sorted(first) == sorted(second) == sorted(stored)
    assert first != second and stored not in (first, second)
    assert epochs(1) == [first, second] and epochs(2)[0] != first


def test_an_iterator_resumes_in_mid_epoch(examples: Examples) -> None:
    dataset = grain.MapDataset.source(DigitSource(examples)).shuffle(seed=5).batch(16).to_iter_dataset()
    expected = _keys(dataset)
    batches = iter(dataset)
    for taken in range(len(expected) + 1):
        other = iter(dataset)
        other.set_state(batches.get_state())
        assert _keys(other) == expected[taken:]
        next(batches, None)


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_of_a_loader_together_have_each_example_once(examples: Examples, workers: int) -> None:
    loaders = [_loader(examples, (shard, 2), workers, shuffle=True) for shard in range(2)]
    keys = [key for loader in loaders for batch in _keys(loader) for key in batch]
    stored = [example.key for example in examples]
    assert keys != stored and sorted(keys) == sorted(stored)


def test_an_unshuffled_loader_gives_the_stored_order(examples: Examples) -> None:
    for ours, theirs in zip(_loader(examples, shuffle=False), Batches(examples, 16), strict=True):
        _assert_equal_batches(ours, theirs)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_resumes_in_mid_epoch_and_knows_its_source(
    examples: Examples, records: Path, tmp_path: Path, workers: int
) -> None:
    batches = iter(_loader(examples, workers=workers, shuffle=True))
    assert len([next(batches) for _ in range(5)]) == 5
    state = batches.get_state()
    rest = _keys(batches)
    moved = tmp_path / "moved"
    shutil.copytree(records, moved)
    other = iter(_loader(tfrecords.open(moved, "train"), workers=workers, shuffle=True))
    other.set_state(state)
    assert _keys(other) == rest and len(rest) > 5
    with pytest.raises(ValueError, match="DataSource in checkpoint does not match"):
        iter(_loader(examples[::-1], workers=workers, shuffle=True)).set_state(state)


def test_the_repr_says_which_examples_in_every_process(examples: Examples, records: Path) -> None:
    program = f"""
import tfrecords
from tfrecords.grain import DigitSource
print(DigitSource(tfrecords.open({str(records)!r}, "train")[2:9]))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == repr(DigitSource(examples[2:9]))
    assert repr(DigitSource(examples[2:9])).startswith("DigitSource(svhn, train[2:9:1], ")
    test = tfrecords.open(records, "test")
    sources = [examples, examples[2:9], examples[::-1], test, test[2:9]]
    assert len({repr(DigitSource(one)) for one in sources}) == len(sources)


def test_the_repr_differs_where_the_records_do(examples: Examples, records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    digest = examples.manifest.split("train").shards[-1].sha256
    manifest.write_text(manifest.read_text().replace(digest, digest[::-1]))
    assert repr(DigitSource(tfrecords.open(tmp_path / "other", "train"))) != repr(DigitSource(examples))


def test_a_damaged_record_is_named(records: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(records, folder)
    shard = sorted(folder.glob("*-test.tfrecord-*"))[0]
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    dataset = grain.MapDataset.source(DigitSource(tfrecords.open(folder, "test"))).batch(4)
    with pytest.raises(UserError, match=shard.name):
        list(dataset.to_iter_dataset())


def test_grain_reads_without_tensorflow_and_its_source_without_grain(records: Path) -> None:
    program = f"""
import sys
for name in ("tensorflow", "apache_beam", "keras", "h5py"):
    sys.modules[name] = None  # any import of it now fails
import tfrecords
from tfrecords.grain import DigitSource
source = DigitSource(tfrecords.open({str(records)!r}, "test"))
assert source[0]["image"].shape == (54, 54, 3)
assert not {{"torch", "grain", "jax"}} & set(sys.modules)
import grain
assert sum(len(batch["key"]) for batch in grain.MapDataset.source(source).batch(6).to_iter_dataset()) == 20
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("installed", "warns"), [("0.2.15", True), ("0.2.9.post1", True), ("0.2.16", False), ("1.0", False)]
)
def test_a_grain_that_cuts_keys_short_is_named(
    installed: str, warns: bool, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrecords.grain.version", lambda name: installed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        DigitSource(examples)
    assert [installed in str(line.message) for line in told] == [True] * warns
