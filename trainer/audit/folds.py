"""Readers that have not seen what they judge: each is trained on the pictures of all folds but one."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.manifest import MANIFEST, ShardInfo, SplitInfo
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.files.framing import frame
from tfrecords.files.publish import atomic_write
from tfrecords.files.shards import ShardName
from trainer.audit.pictures import picture_of
from trainer.input.records import Records
from trainer.reader import Reader
from trainer.scoring.decode import Predictions, decode_predictions

TRAIN = "train"
"""Split that is divided into folds; the others are read by all readers, none of which has seen them."""
NAME = "folds"


def fold_of(key: str, folds: int) -> int:
    """Returns the fold of an example, 0..folds-1: the same for all jitters and all numbers of a source picture."""
    number = picture_of(key)
    return stable_digest(f"fold/{number.rpartition('@')[0] or number}") % folds


def write_fold(records: Records, fold: int, folds: int, folder: Path) -> None:
    """Writes a dataset directory with the training examples that are in other folds; its bytes do not depend on time.

    Args:
      records: Dataset.
      fold: Fold to leave out.
      folds: Number of folds.
      folder: New folder.

    Raises:
      UserError: A record cannot be read, or a fold has no example or all of them.
    """
    folder.mkdir(parents=True)
    examples = records.examples(TRAIN)
    name = str(ShardName(records.manifest.name, TRAIN, 0, 1))
    digest, size, kept = hashlib.sha256(), 0, []
    with atomic_write(folder / name) as stream:
        for index in range(len(examples)):
            key = examples[index].key
            if fold_of(key, folds) != fold:
                data = frame(examples.record(index)[0])
                stream.write(data)
                digest.update(data)
                size += len(data)
                kept.append(picture_of(key))
    if not 0 < len(kept) < len(examples):
        raise UserError(f"The split {TRAIN} must have pictures in each of {folds} folds.", f"{len(examples)} examples")
    shard = ShardInfo(name, len(kept), size, digest.hexdigest())
    splits = {TRAIN: SplitInfo(len(set(kept)), len(kept), [shard])}
    with atomic_write(folder / MANIFEST) as stream:
        stream.write(replace(records.manifest, splits=splits, files={}).to_json().encode())


def train_folds(records: Records, folds: int, folder: Path, options: Sequence[str]) -> list[Path]:
    """Trains a run for each fold by `trainer train`, and returns the run directories; complete ones are kept.

    Args:
      records: Dataset.
      folds: Number of folds.
      folder: Folder of the runs.
      options: Further options of `train`.

    Raises:
      UserError: A record cannot be read, or a training fails.
    """
    runs = []
    for fold in range(folds):
        data, run = folder / f"records-without-{fold}", folder / f"without-{fold}"
        shutil.rmtree(data, ignore_errors=True)
        write_fold(records, fold, folds, data)
        command = [sys.executable, "-m", "trainer", "train", "--data", str(data), "--run-dir", str(run), *options]
        # A process of its own: TensorFlow gives back no memory.
        done = subprocess.run(command, stdout=sys.stderr)  # noqa: S603  (our own command)
        if done.returncode:
            raise UserError(f"The training without fold {fold} has failed.", f"exit code {done.returncode}")
        shutil.rmtree(data)
        runs.append(run)
    return runs


@dataclass(frozen=True)
class FoldReader:
    """The readers of all folds as one: each picture of train is read by the one that has not seen it.

    Attributes:
      readers: Readers, by the fold that each has not seen.
      name: Name.
    """

    readers: Sequence[Reader]
    name: str = NAME

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images that all of them see."""
        return self.readers[0].run.image_shape

    def predict(self, images: NDArray[np.uint8], keys: Sequence[str], splits: Sequence[str]) -> Predictions:
        """Returns the predictions for images cut as the readers' records: the mean of all outside of train.

        Args:
          images: (batch, height, width, channels) uint8.
          keys: Keys of the pictures.
          splits: Their splits.
        """
        count = len(self.readers)
        weights = np.full((count, len(images)), 1 / count)
        for row, (key, split) in enumerate(zip(keys, splits, strict=True)):
            if split == TRAIN:
                weights[:, row] = np.arange(count) == fold_of(key, count)
        found = [reader.predict(images) for reader in self.readers]
        lengths = sum(w[:, None] * one.length_probabilities for w, one in zip(weights, found, strict=True))
        digits = sum(w[:, None, None] * one.digit_probabilities for w, one in zip(weights, found, strict=True))
        with np.errstate(divide="ignore"):
            return decode_predictions(np.log(lengths), np.log(digits), found[0].labels)
