"""Mean and standard deviation of the training split, for the models that normalise by them."""

import keras
import numpy as np
from numpy.typing import NDArray

from tfrecords.progress import progress
from trainer.fit.errors import readable
from trainer.input.augment import centre_slices
from trainer.input.dataset import split_dataset
from trainer.input.records import Records
from trainer.input.scenes import Images
from trainer.models.layers import TrainingStandardise

_BATCH = 256


def measure(model: keras.Model, records: Records, images: Images, split: str) -> None:
    """Sets the statistics of each `TrainingStandardise` layer of a model to those of a split.

    The statistics are those of the central windows, as evaluation cuts them, without augmentation. Their sums are
    integers, so that every host gets the same ones. A layer that has statistics, from `--init` or a checkpoint, keeps
    them; without a layer to measure for, nothing is read.

    Args:
      model: Model that is changed.
      records: Dataset of the images, for errors.
      images: Images of the split.
      split: Name of the split.

    Raises:
      UserError: The split cannot be read.
    """
    layers = [
        layer for layer in model.layers if isinstance(layer, TrainingStandardise) and not int(layer.count.numpy())
    ]
    if not layers:
        return
    height, width, channels = model.input_shape[1:]
    total, squares = (np.zeros((height, width, channels), np.int64) for _ in range(2))
    rows, columns = centre_slices(images.shape[0], images.shape[1], (height, width))
    batches = split_dataset(images, _BATCH)
    with progress(f"measure {split}", len(images), "images", keep=False) as shown:
        for batch in readable(batches, records.directory, split):
            window = batch["image"].numpy()[:, rows, columns]
            total += window.sum(0, dtype=np.int64)
            # The square of 255 fits.
            squares += np.square(window, dtype=np.uint16).sum(0, dtype=np.int64)
            shown.update(len(window))
    for layer in layers:
        mean, deviation = _statistics(total, squares, len(images), layer.by_pixel)
        for weight, value in ((layer.mean, mean), (layer.deviation, deviation), (layer.count, len(images))):
            weight.assign(value)


def _statistics(
    total: NDArray[np.int64], squares: NDArray[np.int64], count: int, by_pixel: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns mean and standard deviation, 1 in place of a deviation of 0: (height, width, channels) float32, or ().

    Args:
      total: Sums of the values of each pixel, (height, width, channels).
      squares: Sums of their squares, of the same shape.
      count: Number of images.
      by_pixel: Whether each pixel and channel has its own values; one for all otherwise.
    """
    if not by_pixel:
        count *= total.size
        total, squares = total.sum(), squares.sum()
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32)
