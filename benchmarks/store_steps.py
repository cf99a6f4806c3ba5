"""Compares training steps on a dataset in a store, with copies on the disk, with steps on the same dataset here.

    python -m benchmarks.store_steps --data svhn-records
    python -m benchmarks.store_steps --data svhn-records --address s3://bucket/svhn-records --epochs 3

Both take turns, step by step, in one process and with one model, so that other work on the machine slows both alike.
In the first epoch the cache is empty, and shards are fetched while steps run. Without --address, the dataset is written
to an S3 server (moto's) on this machine, which takes processor time from both. An epoch's rate is its number of steps
divided by the sum of their times, the first one included, which waits for the first shards.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.common.store_server import serving
from benchmarks.common.table import markdown, verdict
from benchmarks.input.steps import WARM_UP, model_step
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_HEAD = ("epoch", "steps", "local steps/s", "store steps/s", "of local", "local first step s", "store first step s")
_MINIMUM_RATIO = 0.95
Epochs = Callable[[int], Iterable[Any]]


@dataclass(frozen=True)
class Epoch:
    """Times of the steps of an epoch, seconds.

    Attributes:
      local: Times on the local dataset.
      store: Times on the one in the store.
    """

    local: list[float]
    store: list[float]

    @property
    def ratio(self) -> float:
        """Step rate from the store, of the local one."""
        return sum(self.local) / sum(self.store)


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset directory that prepare made")
    add("--address", metavar="URL", help="address of the same dataset in a store (default: a server of its own)")
    add("--model", default="compact", help="architecture of the steps (default: compact)")
    add("--batch-size", type=int, default=16, help="examples per step (default: 16)")
    add("--epochs", type=int, default=3, help="number of epochs (default: 3)")
    add("--steps", type=int, default=0, help="maximum number of steps per epoch; 0 is the complete epoch (default: 0)")
    add("--output", type=Path, help="folder for a temporary folder with copies of shards (default: the system's)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.epochs < 1 or args.batch_size < 1 or args.steps < 0:
        received = f"{args.epochs}, {args.batch_size} and {args.steps}"
        parser.error(f"--epochs and --batch-size must be at least 1, --steps 0 or more. Received: {received}")
    try:
        with contextlib.ExitStack() as stack:
            address = args.address or stack.enter_context(serving(args.data))
            cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output))
            step, local, store = _start(args.data, address, Path(cache), args.model, args.batch_size)
            epochs = list(measure(step, local, store, args.epochs, args.steps or None))
    except (OSError, UserError, ModuleNotFoundError) as error:
        parser.error(str(error))
    print(*report(epochs), sep="\n")
    return 0


def _start(
    data: Path, address: str, cache: Path, model_name: str, batch_size: int
) -> tuple[Callable[[Any], object], Epochs, Epochs]:
    """Returns a step of a new model, warmed up, and the epochs of the local dataset and of the one in the store."""
    from tfrecords.dataset.manifest import Manifest

    manifest = Manifest.load(data)
    step, config = model_step(manifest, model_name, batch_size)

    from trainer.input.dataset import training_dataset
    from trainer.input.records import Records
    from trainer.run.cache_folder import CacheFolder

    room = CacheFolder(cache, 2 * sum(shard.bytes for shard in manifest.split("train").shards))
    local, store = Records.open(data).images("train"), Records.open(Place(address), room).images("train")
    for batch in training_dataset(local, config, 0).take(WARM_UP):
        step(batch)
    return (
        step,
        lambda epoch: training_dataset(local, config, epoch),
        lambda epoch: training_dataset(store, config, epoch),
    )


def measure(
    step: Callable[[Any], object], local: Epochs, store: Epochs, epochs: int, steps: int | None
) -> Iterator[Epoch]:
    """Yields the times of each epoch's steps on both kinds of batches, in turn.

    Args:
      step: Function that trains on a batch and waits for the result, as training does.
      local: Function that returns the batches of an epoch of the local dataset.
      store: Function that returns those of the dataset in the store.
      epochs: Number of epochs.
      steps: Maximum number of steps per epoch; None is the complete epoch.
    """
    for epoch in range(epochs):
        kinds = [(islice(batches(epoch), steps), list[float]()) for batches in (local, store)]
        turns = list(kinds)
        with contextlib.suppress(StopIteration):
            while True:
                turns.reverse()  # or the leftover work of one kind would always slow the other
                for batches, seconds in turns:
                    start = time.perf_counter()
                    step(next(batches))
                    seconds.append(time.perf_counter() - start)
        if len({len(seconds) for _, seconds in kinds}) > 1:
            raise UserError("Both datasets must have equally many batches.", [len(seconds) for _, seconds in kinds])
        yield Epoch(*(seconds for _, seconds in kinds))


def report(epochs: Sequence[Epoch]) -> list[str]:
    """Returns the epochs as a Markdown table, and a line for the target of each."""
    lines = [markdown(_HEAD, (_cells(index, epoch) for index, epoch in enumerate(epochs))), ""]
    for index, epoch in enumerate(epochs):
        text = f"{_title(index)}: {epoch.ratio:.3f} of the local step rate, at least {_MINIMUM_RATIO:g}"
        lines.append(verdict(epoch.ratio >= _MINIMUM_RATIO, text))
    return lines


def _title(index: int) -> str:
    return f"epoch {index}, {'copies on the disk' if index else 'empty cache'}"


def _cells(index: int, epoch: Epoch) -> tuple[str, ...]:
    rates = (f"{len(seconds) / sum(seconds):.2f}" for seconds in (epoch.local, epoch.store))
    first = (f"{seconds[0]:.2f}" for seconds in (epoch.local, epoch.store))
    return _title(index), f"{len(epoch.local)}", *rates, f"{epoch.ratio:.3f}", *first


if __name__ == "__main__":
    sys.exit(main())
