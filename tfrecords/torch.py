"""Examples for PyTorch: a map-style dataset of single ones, and a stream of whole batches that can be resumed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from tfrecords.dataset.batches import Batches
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError

Tensors = dict[str, Any]
"""Tensors by the names of `DigitExample`'s attributes; `key` and `text` are strings, or a list of them in a batch."""
Transform = Callable[[Tensors], Any]
_EPOCH, _RESUMED_EPOCH, _RESUMED_BATCH, _OWNER = range(4)


class DigitDataset(Dataset[Any]):
    """A split as a map-style dataset, for `DataLoader` with any sampler and any number of workers.

        loader = DataLoader(DigitDataset(tfrecords.open("svhn-records", "train")), 128, shuffle=True, num_workers=2)

    An item holds `image`, (channels, height, width) uint8, `length`, int64 without a dimension, `digits`, `crop_box`
    and so on as in `DigitExample`, and the strings `key` and `text`. The tensors are its own: they may be written to.

    `DistributedSampler` deals examples out to ranks evenly, and repeats a few for it. Where each must come exactly
    once, give each rank its own slice, `examples[rank::world_size]`, or take `DigitBatches`.

    Attributes:
      examples: that `tfrecords.open` gave, or a slice of them.
      transform: makes of an item what the dataset returns.
    """

    def __init__(self, examples: Examples, transform: Transform | None = None) -> None:
        self.examples, self.transform = examples, transform

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        """Returns one item.

        Raises:
          IndexError: there is none of this number.
          UserError: the file or the record is damaged.
        """
        example = self.examples[index]
        item: Tensors = {**example.to_dict(), "length": np.int64(example.length)}
        item["image"] = example.image.transpose(2, 0, 1)
        for name, value in item.items():
            if not isinstance(value, str):
                # Copied: examples share their small arrays with each other.
                item[name] = torch.from_numpy(np.array(value, order="C"))
        return self.transform(item) if self.transform else item


class DigitBatches(IterableDataset[Any]):
    """One epoch of a split as a stream of whole batches, in an order that no number of workers changes.

        stream = DigitBatches(tfrecords.open("svhn-records", "train"), 128, seed=0)
        loader = DataLoader(stream, batch_size=None, num_workers=2)
        for epoch in range(10):
            stream.set_epoch(epoch)
            for batch in loader:
                step(batch["image"], batch["digits"])

    It yields what `Batches` does, as tensors, `image` (batch, channels, height, width). Of n workers number i reads
    every n-th batch from the i-th on, and `DataLoader` takes from them in turn: the same batches in the same order.

    To go on in mid-epoch, save a state, and load it into a stream of the same arguments on any rank:

    - without workers, `stream.state_dict()` knows what was yielded;
    - with workers, which read ahead, tell it how many batches the loader gave: `stream.state_dict(taken=n)`. The
      number of workers may change meanwhile;
    - torchdata's `StatefulDataLoader` counts by itself: use its own `state_dict` and `load_state_dict`.

    The next iteration then begins where the state stands, those after it at an epoch's first batch. `set_epoch` with
    the state's epoch leaves it at that, with another one drops it.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_remainder: bool = False,
        transform: Transform | None = None,
    ) -> None:
        """Makes the stream, at epoch 0.

        Args:
          examples: that `tfrecords.open` gave, or a slice of them.
          batch_size: examples a batch, of one rank.
          seed: of the shuffling, the same on every rank; None: in stored order.
          rank: of this process, which takes every `world_size`-th example; None: as `torch.distributed` has it if it
            is initialised by now, else 0. The environment (`RANK`, `WORLD_SIZE`) is not looked at.
          world_size: how many ranks there are; None: likewise, else 1.
          drop_remainder: all batches are full, and every rank has as many, as collective operations need.
          transform: makes of a batch what is yielded; runs in the worker.

        Raises:
          UserError: a number makes no sense.
        """
        default = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            default = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.rank = default[0] if rank is None else rank
        self.world_size = default[1] if world_size is None else world_size
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.drop_remainder, self.transform = drop_remainder, transform
        self._length = len(self._batches(0))
        numbers = {"seed": seed, "batch_size": batch_size, "world_size": self.world_size}
        self._arguments = {"examples": examples.identity, **numbers, "drop_remainder": drop_remainder}
        # In shared memory, or persistent workers would never hear of a new epoch: the epoch; where the state that was
        # loaded stands, its batch -1 if there is none; and which iteration came last, 0 if none did since.
        self._shared = torch.tensor([0, 0, -1, 0], device="cpu").share_memory_()
        self._iterations = 0
        # Of this process: the epoch and the batch that come next, and those that a worker was restored to.
        self._at: tuple[int, int] | None = None
        self._restored: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Returns how many batches an epoch has on this rank."""
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iterations have; persistent workers follow as well.

        Call it before an iteration begins: workers that are only starting follow too.
        """
        _, resumed_epoch, _, owner = self._shared.tolist()
        if owner or epoch != resumed_epoch:
            self._shared[_RESUMED_BATCH] = -1
        self._shared[_EPOCH], self._shared[_OWNER], self._at = epoch, 0, None

    def __iter__(self) -> Iterator[Any]:
        # Not itself a generator: that would look at the epoch only when the first batch is asked for.
        worker = get_worker_info()
        place, step = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, first = self._at = self._begin()
        return self._read(epoch, first, place, step)

    def _read(self, epoch: int, first: int, place: int, step: int) -> Iterator[Any]:
        batches = self._batches(epoch)
        for start in range(first, len(batches) - place, step):
            batch: Tensors = batches[start + place]
            for name, value in batch.items():
                batch[name] = value.tolist() if value.dtype.kind == "U" else torch.from_numpy(value)
            batch["image"] = batch["image"].permute(0, 3, 1, 2).contiguous()
            # Before it is handed out: a state that is saved then counts it.
            self._at = epoch, start + step
            yield self.transform(batch) if self.transform else batch

    def _begin(self) -> tuple[int, int]:
        """Returns the epoch and the first batch of an iteration that begins in this process."""
        self._iterations += 1
        worker, mine = get_worker_info(), -self._iterations
        if worker:
            # All workers of an iteration have the same, and no other iteration has: DataLoader draws a seed for each,
            # and persistent workers, which keep theirs, count.
            mine = (worker.seed - worker.id + self._iterations) % (1 << 62) + 1
        if int(self._shared[_OWNER]) not in (0, mine):
            # An earlier iteration has had the state.
            self._shared[_RESUMED_BATCH] = -1
        self._shared[_OWNER] = mine
        restored, self._restored = self._restored, None
        return restored or self._begun()

    def _begun(self) -> tuple[int, int]:
        """Returns the epoch and the first batch of the current iteration, or of the next if there is none."""
        epoch, resumed_epoch, resumed_batch, _ = self._shared.tolist()
        return (epoch, 0) if resumed_batch < 0 else (resumed_epoch, resumed_batch)

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Returns where the stream stands, and what it must be of to be resumed there: numbers and strings.

        Args:
          taken: how many batches the caller had of the current iteration; None: as many as this process yielded.

        Raises:
          UserError: `taken` is wanting although workers read, or there are not as many.
        """
        epoch, batch = self._begun()
        if taken is None:
            if self._shared[_OWNER] > 0 and not get_worker_info():
                rule = "How many batches were taken from a DataLoader with workers only its user knows: "
                raise UserError(rule + "give state_dict(taken=...), or take StatefulDataLoader's own state_dict.")
            epoch, batch = self._at or (epoch, batch)
        elif 0 <= taken <= len(self) - batch:
            batch += taken
        else:
            raise UserError(f"taken must be 0..{len(self) - batch}, as many as there were.", taken)
        return {"epoch": epoch, "batch": batch, **self._arguments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Lets the next iteration begin where a state stands.

        Raises:
          UserError: it is of other examples, or of a stream of other arguments.
        """
        mine = self._arguments
        wrong = [name for name in mine if name not in state or state[name] != mine[name]]
        if wrong:
            rule = f"The state must be of a stream with {', '.join(f'{name}={mine[name]!r}' for name in wrong)}."
            raise UserError(rule, ", ".join(f"{name}={state.get(name)!r}" for name in wrong))
        if get_worker_info():
            # StatefulDataLoader restores each worker by itself.
            self._restored = state["epoch"], state["batch"]
            return
        self._shared[_RESUMED_EPOCH], self._shared[_RESUMED_BATCH] = state["epoch"], state["batch"]
        self._shared[_OWNER], self._at = 0, None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copy's memory is its own, but must be shared with the workers of the copy.
        self._shared.share_memory_()

    def _batches(self, epoch: int) -> Batches:
        return Batches(
            self.examples, self.batch_size, self.seed, epoch, self.rank, self.world_size, self.drop_remainder
        )
