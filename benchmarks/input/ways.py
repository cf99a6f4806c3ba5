"""The ways from files to batches that are compared; each runs in its own process.

    python -m benchmarks.input.ways WAY JOB RESULT

runs one, as `benchmarks.readers.ways` does.
"""

from benchmarks.readers.ways import WAYS as READERS
from benchmarks.readers.ways import Way, serve

_OURS = "benchmarks.input.pipelines"
MODULE = "benchmarks.input.ways"
ARRAYS = "arrays"
"""Kind of the files that `memory-map` reads and `pipelines.write_arrays` writes."""
WAYS = {
    "memory-map": Way("NumPy memory map, shuffled", f"{_OURS}:memory_map", "batches", "none", files=ARRAYS),
    "training": Way("training_dataset, later epochs", f"{_OURS}:training", "batches", "lengths", "tensorflow"),
    "first-epoch": Way("training_dataset, first epoch", f"{_OURS}:first_epoch", "batches", "records", "tensorflow"),
    "as-usual": Way("tf.data, record by record, AUTOTUNE", f"{_OURS}:as_usual", "batches", "records", "tensorflow"),
    **{name: READERS[name] for name in ("grain", "torch-dataset", "torch-batches")},
}


if __name__ == "__main__":
    serve(WAYS)
