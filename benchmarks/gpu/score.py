"""Scores a model on the splits that it did not learn from. Import it last, as `step`."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import tfrecords
from benchmarks.gpu.step import Tensor
from tfrecords.dataset.batches import Batches
from tfrecords.dataset.manifest import Manifest
from tfrecords.record.labels import Labels
from trainer.input.augment import centre_window
from trainer.scoring.decode import decode_predictions
from trainer.scoring.metrics import score

_SPLITS = ("validation", "test")


def split_scores(
    model: keras.Model, labels: Labels, directories: Sequence[Path], batch_size: int
) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yields directory, split and scores of each validation and test split that has examples.

    Args:
      model: Model to score.
      labels: Numbers that it predicts, those of all datasets.
      directories: Dataset directories.
      batch_size: Examples per batch.
    """
    forward = make_forward(model)
    for directory in dict.fromkeys(directories):
        for split in _SPLITS:
            info = Manifest.load(directory).splits.get(split)
            if info is not None and info.examples:
                batches = Batches(tfrecords.open(directory, split), batch_size)
                yield directory, split, _score(forward, model.input_shape[1:3], labels, batches)


def make_forward(model: keras.Model) -> Callable[[Tensor], dict[str, Tensor]]:
    """Returns a function from images, (batch, size, size, channels), to the model's outputs; compiled if possible.

    Keras's own `predict_on_batch` is wrong under JAX with averaged weights: it donates their memory (3.15), which holds
    the optimizer's average too.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        compiled = jax.jit(lambda weights, rest, images: model.stateless_call(weights, rest, images, training=False)[0])

        def forward(images: Tensor) -> dict[str, Tensor]:
            parts = model.trainable_variables, model.non_trainable_variables
            return compiled(*([variable.value for variable in part] for part in parts), images)

        return forward
    if backend == "torch":
        import torch

        return torch.no_grad()(lambda images: model(images, training=False))
    import tensorflow as tf

    return tf.function(lambda images: model(images, training=False))


def _score(
    forward: Callable[[Tensor], dict[str, Tensor]], size: tuple[int, int], labels: Labels, batches: Batches
) -> dict[str, Any]:
    """Returns the scores on the central window of each image of a split."""
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    batch_size = batches.batch_size
    for batch in batches:
        count = len(batch["image"])
        # A short batch would be compiled again, so it is padded.
        images = np.pad(batch["image"], [(0, batch_size - count), (0, 0), (0, 0), (0, 0)])
        outputs = forward(centre_window(ops.convert_to_tensor(images), size))
        for name, value in outputs.items():
            parts[name].append(ops.convert_to_numpy(value)[:count])
        for name in ("length", "digits"):
            parts[name].append(batch[name])
    arrays = {name: np.concatenate(part) for name, part in parts.items()}
    predictions = decode_predictions(arrays.get("length_logits"), arrays["digit_logits"], labels)
    return score(predictions, arrays["length"], arrays["digits"])
