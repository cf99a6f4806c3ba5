"""The doors to other libraries on a dataset in a bucket, in worker processes that a process which has read it forks.

The parent has a thread of fsspec, connections, blocks in memory and a client; a worker may use none but the blocks.
"""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfrecords
from tests.stores import Bucket
from tfrecords.dataset.reader import Examples
from tfrecords.files import blocks

# Python from 3.12 on: the threads are what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture(params=["blocks", "cache"])
def remote(request: pytest.FixtureRequest, records: Path, bucket: Bucket, tmp_path: Path) -> Examples:
    """The training split in a bucket; this process has read some of it."""
    bucket.put_folder(records, "records")
    cache = tmp_path / "cache" if request.param == "cache" else None
    examples = tfrecords.open(f"{bucket.address}/records", "train", cache=cache)
    assert examples[0].key == tfrecords.open(records, "train")[0].key
    return examples


@pytest.fixture
def expected(records: Path) -> list[str]:
    return [example.key for example in tfrecords.open(records, "train")]


def _forget(worker: int) -> None:
    """Drops a worker's blocks, so that it must ask the store."""
    blocks._caches.clear()


@pytest.mark.slow
def test_forked_workers_of_pytorch_read_a_bucket(remote: Examples, expected: list[str]) -> None:
    torch = pytest.importorskip("torch")
    from tfrecords.torch import DigitBatches, DigitDataset

    options: dict[str, Any] = {"num_workers": 2, "multiprocessing_context": "fork", "worker_init_fn": _forget}
    loader = torch.utils.data.DataLoader(DigitDataset(remote), 8, timeout=60, **options)
    assert [key for batch in loader for key in batch["key"]] == expected
    stream = DigitBatches(remote, 8, seed=0)
    found = [key for batch in torch.utils.data.DataLoader(stream, None, timeout=60, **options) for key in batch["key"]]
    assert sorted(found) == sorted(expected)
    # This process still has its own connections.
    blocks._caches.clear()
    assert [example.key for example in remote] == expected


@pytest.mark.slow
def test_workers_of_grain_read_a_bucket(remote: Examples, expected: list[str]) -> None:
    grain = pytest.importorskip("grain")
    from tfrecords.grain import DigitSource

    source = DigitSource(remote)
    sampler = grain.samplers.IndexSampler(len(source), shuffle=False, num_epochs=1)
    loader = grain.DataLoader(data_source=source, sampler=sampler, worker_count=2)
    assert sorted(str(example["key"]) for example in loader) == sorted(expected)
