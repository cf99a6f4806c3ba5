"""Examples for PyTorch: a map-style dataset of single examples, a stream of complete batches, and scenes to find in."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from tfrecords.dataset.batches import Batches
from tfrecords.dataset.reader import Examples, Scenes
from tfrecords.errors import UserError

Tensors = dict[str, Any]
"""Tensors by attribute of `DigitExample`; `key` and `text` are strings, or lists of strings in a batch."""
Transform = Callable[[Tensors], Any]
_EPOCH, _RESUMED_EPOCH, _RESUMED_BATCH, _OWNER = range(4)


class DigitDataset(Dataset[Any]):
    """A split as a map-style dataset, for `DataLoader` with any sampler and any number of workers.

        loader = DataLoader(DigitDataset(tfrecords.open("svhn-records", "train")), 128, shuffle=True, num_workers=2)

    An item holds `image`, (channels, height, width) uint8, `length`, int64 without a dimension, `digits`, `crop_box`
    and so on as in `DigitExample`, and the strings `key` and `text`. Its tensors are copies, which may be written to.

    `DistributedSampler` repeats a few examples so that all ranks have equally many. If each example must appear exactly
    once, give each rank its own slice, `examples[rank::world_size]`, or use `DigitBatches`.

    Attributes:
      examples: Examples from `tfrecords.open`, or a slice of them.
      transform: Function from an item to the value that the dataset returns.
    """

    def __init__(self, examples: Examples, transform: Transform | None = None) -> None:
        """Makes a dataset of the examples.

        Raises:
          UserError: They are scenes.
        """
        _refuse_scenes(examples)
        self.examples, self.transform = examples, transform

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        """Returns one item.

        Raises:
          IndexError: The index is out of range.
          UserError: The file or the record is damaged.
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
    """One epoch of a split as a stream of complete batches, in the same order with any number of workers.

        stream = DigitBatches(tfrecords.open("svhn-records", "train"), 128, seed=0)
        loader = DataLoader(stream, batch_size=None, num_workers=2)
        for epoch in range(10):
            stream.set_epoch(epoch)
            for batch in loader:
                step(batch["image"], batch["digits"])

    It yields the batches of `Batches` as tensors, `image` as (batch, channels, height, width). Of n workers, worker i
    reads every n-th batch from batch i on, and `DataLoader` takes from the workers in turn.

    To resume within an epoch, save a state and load it into a stream with the same arguments, on any rank:

    - without workers, `stream.state_dict()` counts the yielded batches;
    - with workers, which read ahead, the caller gives the number of batches that it took from the loader:
      `stream.state_dict(taken=n)`. The number of workers may change in between;
    - torchdata's `StatefulDataLoader` counts by itself: use its own `state_dict` and `load_state_dict`.

    The next iteration then begins at the batch of the state, later ones at the first batch of an epoch. `set_epoch`
    with the epoch of the state keeps the state; with another epoch it drops the state.
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
          examples: Examples from `tfrecords.open`, or a slice of them.
          batch_size: Examples per batch of one rank.
          seed: Random seed of the order, the same on every rank; None keeps the stored order.
          rank: Index of this process, which takes every `world_size`-th example. None takes the rank of
            `torch.distributed` if it is initialised, otherwise 0. The environment (`RANK`, `WORLD_SIZE`) is ignored.
          world_size: Number of ranks. None takes that of `torch.distributed` if it is initialised, otherwise 1.
          drop_remainder: Whether all batches are full and all ranks have equally many, as collective operations need.
          transform: Function from a batch to the value that the stream yields. It runs in the worker.

        Raises:
          UserError: An argument is out of range, or the examples are scenes.
        """
        _refuse_scenes(examples)
        default = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            default = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.rank = default[0] if rank is None else rank
        self.world_size = default[1] if world_size is None else world_size
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.drop_remainder, self.transform = drop_remainder, transform
        self._length = len(self._batches(0))
        sizes = {"batch_size": batch_size, "world_size": self.world_size}
        self._arguments = {"examples": examples.identity, "seed": seed, **sizes, "drop_remainder": drop_remainder}
        # In shared memory, so that persistent workers see a new epoch: the epoch; epoch and batch of the loaded state,
        # with batch -1 for no state; and the identifier of the last iteration, 0 for none since.
        self._shared = _share(torch.tensor([0, 0, -1, 0], device="cpu"))
        self._iterations = 0
        # In this process: the next epoch and batch, and those that a worker was restored to.
        self._next: tuple[int, int] | None = None
        self._restored: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Returns the number of batches per epoch on this rank."""
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iterations, also for persistent workers.

        Call it before an iteration begins. It also affects workers that are still starting.
        """
        _, resumed_epoch, _, owner = self._shared.tolist()
        if owner or epoch != resumed_epoch:
            self._shared[_RESUMED_BATCH] = -1
        self._shared[_EPOCH], self._shared[_OWNER], self._next = epoch, 0, None

    def __iter__(self) -> Iterator[Any]:
        # Not a generator, which would read the epoch only at the first batch.
        worker = get_worker_info()
        worker_index, step = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, first = self._next = self._begin()
        return self._read(epoch, first, worker_index, step)

    def _read(self, epoch: int, first: int, worker_index: int, step: int) -> Iterator[Any]:
        batches = self._batches(epoch)
        for start in range(first, len(batches) - worker_index, step):
            batch: Tensors = batches[start + worker_index]
            for name, value in batch.items():
                batch[name] = value.tolist() if value.dtype.kind == "U" else torch.from_numpy(value)
            batch["image"] = batch["image"].permute(0, 3, 1, 2).contiguous()
            # Set before the yield, so that a state that the caller saves next counts this batch.
            self._next = epoch, start + step
            yield self.transform(batch) if self.transform else batch

    def _begin(self) -> tuple[int, int]:
        """Returns the epoch and the first batch of an iteration that begins in this process."""
        self._iterations += 1
        worker, mine = get_worker_info(), -self._iterations
        if worker:
            # Equal in all workers of an iteration and in no other iteration: DataLoader draws a seed per iteration, and
            # persistent workers, which keep their seed, count their iterations.
            mine = (worker.seed - worker.id + self._iterations) % (1 << 62) + 1
        if int(self._shared[_OWNER]) not in (0, mine):
            # An earlier iteration used the state.
            self._shared[_RESUMED_BATCH] = -1
        self._shared[_OWNER] = mine
        restored, self._restored = self._restored, None
        return restored or self._first()

    def _first(self) -> tuple[int, int]:
        """Returns the epoch and the first batch of the current iteration, or of the next one if none has begun."""
        epoch, resumed_epoch, resumed_batch, _ = self._shared.tolist()
        return (epoch, 0) if resumed_batch < 0 else (resumed_epoch, resumed_batch)

    def state_dict(self, taken: int | None = None) -> dict[str, Any]:
        """Returns the position of the stream, and the arguments that a stream needs to resume there.

        Args:
          taken: Number of batches that the caller took from the current iteration; None counts the batches that this
            process yielded.

        Raises:
          UserError: `taken` is missing although workers read, or is more than the number of batches.
        """
        epoch, batch = self._first()
        if taken is None:
            if self._shared[_OWNER] > 0 and not get_worker_info():
                rule = "A DataLoader with workers reads ahead, so the stream cannot count the batches that were taken: "
                raise UserError(rule + "give state_dict(taken=...), or use StatefulDataLoader's own state_dict.")
            epoch, batch = self._next or (epoch, batch)
        elif 0 <= taken <= len(self) - batch:
            batch += taken
        else:
            raise UserError(f"taken must be 0..{len(self) - batch}, the number of batches left.", taken)
        return {"epoch": epoch, "batch": batch, **self._arguments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes the next iteration begin at the position of a state.

        Raises:
          UserError: The state belongs to other examples, or to a stream with other arguments.
        """
        mine = self._arguments
        wrong = [name for name in mine if name not in state or state[name] != mine[name]]
        if wrong:
            rule = f"The state must belong to a stream with {', '.join(f'{name}={mine[name]!r}' for name in wrong)}."
            raise UserError(rule, ", ".join(f"{name}={state.get(name)!r}" for name in wrong))
        if get_worker_info():
            # StatefulDataLoader restores each worker by itself.
            self._restored = state["epoch"], state["batch"]
            return
        self._shared[_RESUMED_EPOCH], self._shared[_RESUMED_BATCH] = state["epoch"], state["batch"]
        self._shared[_OWNER], self._next = 0, None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copy has its own memory, which it must share with its own workers.
        _share(self._shared)

    def _batches(self, epoch: int) -> Batches:
        return Batches(
            self.examples, self.batch_size, self.seed, epoch, self.rank, self.world_size, self.drop_remainder
        )


class SceneDataset(Dataset[Any]):
    """A split of scenes as a map-style dataset, in the form that torchvision's detectors are trained with.

        scenes = SceneDataset(tfrecords.open("photos-320", "train"))
        loader = DataLoader(scenes, 8, shuffle=True, collate_fn=SceneDataset.collate)
        for images, targets in loader:
            losses = detector([image / 255 for image in images], targets)

    An item is the image, (channels, height, width) uint8, and its target, a dictionary: `boxes`, (objects, 4) float32,
    xmin, ymin, xmax, ymax in pixels of the image; `labels`, (objects,) int64, of which 0 would be the background;
    `image_id`, the index; and the strings `key` and `texts`.

    Attributes:
      scenes: Scenes from `tfrecords.open`, or a slice of them.
      classes: `number`: an object is a number, with label 1 and its text in `texts`. `digits`: an object is a character
        whose box is known, with label 1 and more, 1 more than its index in the alphabet.
      transform: Function from an item to the value that the dataset returns.
    """

    def __init__(
        self, scenes: Examples, classes: str = "number", transform: Callable[[tuple[Any, Tensors]], Any] | None = None
    ) -> None:
        """Makes a dataset of the scenes.

        Raises:
          UserError: They are examples of single numbers, or there are no such classes.
        """
        if not isinstance(scenes, Scenes):
            raise UserError("SceneDataset needs a dataset of task find; DigitDataset reads others.", scenes)
        if classes not in ("number", "digits"):
            raise UserError("classes must be number or digits.", classes)
        self.scenes, self.classes, self.transform = scenes, classes, transform

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Any:
        """Returns one item.

        Raises:
          IndexError: The index is out of range.
          UserError: The file or the record is damaged.
        """
        scene = self.scenes[index]
        if self.classes == "number":
            boxes, labels, texts = scene.boxes, np.ones(len(scene.texts), np.int64), list(scene.texts)
        else:
            boxes, labels = scene.digit_boxes, scene.digit_labels + 1
            texts = [scene.alphabet[label] for label in scene.digit_labels]
        target: Tensors = {
            "boxes": torch.from_numpy(boxes[:, [1, 0, 3, 2]]),
            "labels": torch.from_numpy(labels),
            "image_id": range(len(self))[index],
            "key": scene.key,
            "texts": texts,
        }
        item = torch.from_numpy(np.array(scene.image.transpose(2, 0, 1), order="C")), target
        return self.transform(item) if self.transform else item

    @staticmethod
    def collate(items: Iterable[tuple[Any, Tensors]]) -> tuple[list[Any], list[Tensors]]:
        """Returns the images and the targets of a batch as lists, for `DataLoader`'s `collate_fn`."""
        images, targets = zip(*items, strict=True)
        return list(images), list(targets)


def _refuse_scenes(examples: Examples) -> None:
    """Raises a UserError for scenes, whose lists of boxes differ in length."""
    if isinstance(examples, Scenes):
        raise UserError("A dataset of task find is read by tfrecords.torch.SceneDataset.", examples)


def _share(tensor: torch.Tensor) -> torch.Tensor:
    """Moves a tensor to shared memory and returns it."""
    share: Callable[[], torch.Tensor] = tensor.share_memory_  # PyTorch leaves the method untyped
    return share()
