"""The readers that are compared, each run in a process of its own.

    python -m benchmarks.readers.ways WAY JOB RESULT

runs one: JOB holds the fields of `Job` as JSON, RESULT is the file that examples and seconds go to.
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

from benchmarks.common.own_process import answer, run
from benchmarks.readers.job import BATCH, Job


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
      title: what the table calls it.
      function: `module:function`; gets a `Job`, returns what reads all examples once when it is called.
      gives: what that reads: `examples` one by one, or `batches`.
      checks: which checksums are looked at.
      needs: one of `_EXTRAS`; empty: nothing that is not always there.
      files: which of `benchmarks.readers.files`' it reads instead of the dataset's.
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
"""Packages, and which of streetdigits' extras brings each."""
_OURS, _TENSORFLOW, _PEERS = (f"benchmarks.readers.{name}" for name in ("ours", "tensorflow", "peers"))
WAYS = {
    "tf.data": Way("tf.data, parse_example", f"{_TENSORFLOW}:tf_data", "batches", "records", "tensorflow"),
    "open": Way("tfrecords.open, in order", f"{_OURS}:in_order", "examples", "records"),
    "unverified": Way("tfrecords.open, verify=False", f"{_OURS}:unverified", "examples", "lengths"),
    "random": Way("tfrecords.open, by number, shuffled", f"{_OURS}:by_number", "examples", "records"),
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
    """What one run of a way took: the examples that it gave, and the seconds."""

    examples: int
    seconds: float

    @property
    def per_s(self) -> float:
        return self.examples / self.seconds


def missing(name: str, ways: Mapping[str, Way] = WAYS) -> str:
    """Returns how to get what a way needs; empty where it is there."""
    needs = ways[name].needs
    if not needs or importlib.util.find_spec(needs):
        return ""
    return f"It needs {needs}: pip install 'streetdigits[{_EXTRAS[needs]}]'."


def conditions(absent: Iterable[str], ways: Mapping[str, Way] = WAYS) -> list[str]:
    """Returns the lines that tell on which core the ways ran, and which were left out and why."""
    chosen = core()
    where = "Several cores: this system does not let one be chosen." if chosen is None else f"Core {chosen} alone."
    return [where, *(f"Left out: {ways[name].title}. {missing(name, ways)}" for name in absent)]


def measure(name: str, job: Job, folder: Path, module: str = "benchmarks.readers.ways") -> Measured:
    """Runs a way; `folder` is for its log and result, `module` the one that `serve` answers for.

    Raises:
      RuntimeError: it failed; the text is the last line that it said.
    """
    result, _, _ = run(module, name, job, folder)
    return Measured(**result)


def read(name: str, job: Job, ways: Mapping[str, Way] = WAYS) -> Measured:
    """Reads all examples once, in this process, after a first batch of them."""
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
    """Returns the core that every way runs on; None where the system does not let one be chosen."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else None


def serve(ways: Mapping[str, Way]) -> None:
    """Is `main` of the process that measures one of these ways."""
    answer(partial(_work, ways))


def _work(ways: Mapping[str, Way], name: str, job: dict[str, Any]) -> dict[str, float]:
    # Before anything is imported that counts the cores for its threads, or looks for a GPU.
    chosen = core()
    if chosen is not None:
        os.sched_setaffinity(0, {chosen})
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return vars(read(name, Job(**job), ways))


if __name__ == "__main__":
    serve(WAYS)
