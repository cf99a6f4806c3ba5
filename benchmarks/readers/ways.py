"""The ways of reading that are compared; each runs in its own process.

    python -m benchmarks.readers.ways WAY JOB RESULT

runs one: JOB holds the fields of `Job` as JSON, RESULT is the file for examples and seconds.
"""

import importlib
import importlib.util
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.common.own_process import run_way, serve_way
from benchmarks.readers.job import BATCH, Job


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
      title: Name in the table.
      function: `module:function`, which takes a `Job` and returns a `Pass`.
      gives: Items of the pass: `examples` one by one, or `batches`.
      checks: Checksums that are verified.
      needs: Package out of `_EXTRAS`; empty if the base install is enough.
      files: Kind of file that it reads instead of the dataset's shards; empty for the shards.
    """

    title: str
    function: str
    gives: str
    checks: str
    needs: str = ""
    files: str = ""


_EXTRAS = {
    "tensorflow": "train",
    "tensorflow_datasets": "tfds",
    "torch": "torch",
    "grain": "grain",
    "array_record": "grain",
    "tfrecord": "bench",
    "webdataset": "bench",
}
"""Extra of streetdigits that installs each package."""
_OURS, _TENSORFLOW, _PEERS = (f"benchmarks.readers.{name}" for name in ("ours", "tensorflow", "peers"))
WAYS = {
    "tf.data": Way("tf.data, parse_example", f"{_TENSORFLOW}:tf_data", "batches", "records", "tensorflow"),
    "open": Way("tfrecords.open, in order", f"{_OURS}:in_order", "examples", "records"),
    "unverified": Way("tfrecords.open, verify=False", f"{_OURS}:unverified", "examples", "lengths"),
    "random": Way("tfrecords.open, by index, shuffled", f"{_OURS}:by_index", "examples", "records"),
    "batches": Way("Batches, shuffled", f"{_OURS}:batches", "batches", "records"),
    "torch-dataset": Way("PyTorch on DigitDataset, shuffled", f"{_OURS}:torch_dataset", "batches", "records", "torch"),
    "torch-batches": Way("PyTorch on DigitBatches, shuffled", f"{_OURS}:torch_batches", "batches", "records", "torch"),
    "grain": Way("Grain on DigitSource, shuffled", f"{_OURS}:grain", "batches", "records", "grain"),
    "tfds": Way(
        "TensorFlow Datasets, as NumPy",
        f"{_TENSORFLOW}:tensorflow_datasets",
        "batches",
        "records",
        "tensorflow_datasets",
    ),
    "tfrecord": Way("tfrecord package", f"{_PEERS}:tfrecord_package", "examples", "none", "tfrecord"),
    "webdataset-png": Way(
        "WebDataset, PNG and JSON", f"{_PEERS}:webdataset_png", "examples", "pixels", "webdataset", "webdataset-png"
    ),
    "webdataset-npy": Way(
        "WebDataset, npy and JSON", f"{_PEERS}:webdataset_npy", "examples", "none", "webdataset", "webdataset-npy"
    ),
    "arrayrecord": Way(
        "Grain on ArrayRecord, our decode, shuffled",
        f"{_PEERS}:array_record",
        "batches",
        "chunks",
        "array_record",
        "arrayrecord",
    ),
    "arrayrecord-protobuf": Way(
        "Grain on ArrayRecord, protobuf, shuffled",
        f"{_PEERS}:array_record_protobuf",
        "batches",
        "chunks",
        "array_record",
        "arrayrecord",
    ),
}


@dataclass(frozen=True)
class Measured:
    """Costs of one run of a way.

    Attributes:
      examples: Number of examples read.
      seconds: Time of the pass.
    """

    examples: int
    seconds: float

    @property
    def per_s(self) -> float:
        """Examples per second."""
        return self.examples / self.seconds


def missing(name: str, ways: Mapping[str, Way] = WAYS) -> str:
    """Returns how to install the package that a way needs; empty if it is installed."""
    needs = ways[name].needs
    if not needs or importlib.util.find_spec(needs):
        return ""
    return f"It needs {needs}: pip install 'streetdigits[{_EXTRAS[needs]}]'."


def conditions(absent: Iterable[str], ways: Mapping[str, Way] = WAYS) -> list[str]:
    """Returns lines that state on which core the ways ran, and which were left out and why."""
    chosen = core()
    where = "Several cores: this system does not allow to choose one." if chosen is None else f"Core {chosen} alone."
    return [where, *(f"Left out: {ways[name].title}. {missing(name, ways)}" for name in absent)]


def measure(name: str, job: Job, folder: Path, module: str = "benchmarks.readers.ways") -> Measured:
    """Runs a way in its own process.

    Args:
      name: Name of the way.
      job: Work of the way.
      folder: Folder for its log and result.
      module: Module that calls `serve` with the way.

    Raises:
      RuntimeError: The way failed; the text is the last line of its output.
    """
    result, _, _ = run_way(module, name, job, folder)
    return Measured(**result)


def read(name: str, job: Job, ways: Mapping[str, Way] = WAYS) -> Measured:
    """Reads a first batch, then all examples once with the clock running, in this process."""
    module, function = ways[name].function.split(":")
    start_pass = getattr(importlib.import_module(module), function)(job)
    batched = ways[name].gives == "batches"
    deque(islice(start_pass(), 1 if batched else BATCH), maxlen=0)
    start = time.perf_counter()
    examples = _count(start_pass(), batched)
    return Measured(examples, time.perf_counter() - start)


def _count(items: Iterable[Any], batched: bool) -> int:
    return sum(len(batch["key"]) for batch in items) if batched else sum(1 for _ in items)


def core() -> int | None:
    """Returns the core that every way runs on; None if the system does not allow to choose one."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else None


def serve(ways: Mapping[str, Way]) -> None:
    """Runs as `main` of a process that measures one of these ways."""
    serve_way(partial(_work, ways))


def _work(ways: Mapping[str, Way], name: str, job: dict[str, Any]) -> dict[str, float]:
    # Must precede the import of anything that counts the cores for its threads, or looks for a GPU.
    chosen = core()
    if chosen is not None:
        os.sched_setaffinity(0, {chosen})
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return vars(read(name, Job(**job), ways))


if __name__ == "__main__":
    serve(WAYS)
