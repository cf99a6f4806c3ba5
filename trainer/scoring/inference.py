"""A model over a split: one prediction per example."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from trainer.input.augment import centre_window, random_window, window_places
from trainer.scoring.decode import Predictions, decode_predictions
from trainer.scoring.losses import number_loss


@dataclass(frozen=True)
class SplitPredictions:
    """A model's predictions for a split next to its labels, in stored order.

    Attributes:
      keys: Keys of the examples.
      predictions: Predicted numbers.
      length: (examples,) int64, true lengths.
      digits: (examples, longest) int64, true digits, padded; longest and alphabet are those of the predictions.
      loss: Mean number loss, nats.
    """

    keys: list[str]
    predictions: Predictions
    length: NDArray[np.int64]
    digits: NDArray[np.int64]
    loss: float


_DIGITS = Labels()
Forward = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def make_forward(model: keras.Model, crops: int = 1) -> Forward:
    """Returns a function from (batch, height, width, channels) uint8 images to the model's outputs.

    Make it once per model, since TensorFlow traces each one.

    Args:
      model: Model that takes a window of each image.
      crops: Number of windows per image, the centre first. Several windows give log-probabilities: the logarithms of
        the mean probabilities (Goodfellow et al. 2013, section 5.1).
    """
    _, height, width, channels = model.input_shape
    size = height, width
    places = window_places(crops - 1)

    def forward(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(images)[0]
        tiled = [tf.tile(tf.constant([place], tf.float32), [count, 1]) for place in places]
        windows = [centre_window(images, size), *(random_window(images, size, place) for place in tiled)]
        each = [model(tf.ensure_shape(window, (None, *size, channels)), training=False) for window in windows]
        outputs: dict[str, tf.Tensor] = each[0]
        if crops > 1:
            logs = {name: tf.stack([tf.nn.log_softmax(part[name]) for part in each]) for name in outputs}
            outputs = {name: tf.reduce_logsumexp(log, axis=0) - math.log(crops) for name, log in logs.items()}
        return outputs

    spec = tf.TensorSpec((None, None, None, channels), tf.uint8)
    traced: Forward = tf.function(forward, autograph=False, input_signature=[spec])
    return traced


def predict_split(
    forward: Forward, batches: Iterable[dict[str, tf.Tensor]], labels: Labels = _DIGITS, stored: Labels | None = None
) -> SplitPredictions:
    """Returns a model's predictions for every example of a split.

    Args:
      forward: Function of `make_forward`.
      batches: Batches of `split_dataset`, each example once.
      labels: Numbers that the model can predict.
      stored: Numbers that the dataset can hold, all of which the model can predict; None for the same.
    """
    keys: list[str] = []
    parts = defaultdict(list)
    for batch in batches:
        for name, value in (*forward(batch["image"]).items(), ("length", batch["length"]), ("digits", batch["digits"])):
            parts[name].append(value.numpy())
        keys.extend(key.decode() for key in batch["key"].numpy())
    joined = {name: np.concatenate(part) for name, part in parts.items()}
    length, digits = joined["length"], _as_predicted(joined["digits"], stored or labels, labels)
    logits = joined.get("length_logits"), joined["digit_logits"]
    losses = number_loss(*logits, keras.ops.convert_to_tensor(length), keras.ops.convert_to_tensor(digits))
    return SplitPredictions(
        keys=keys,
        predictions=decode_predictions(*logits, labels),
        length=length,
        digits=digits,
        loss=float(np.mean(losses)),
    )


def _as_predicted(digits: NDArray[np.int64], stored: Labels, labels: Labels) -> NDArray[np.int64]:
    """Returns the true digits of a dataset in the alphabet and the longest length of a model."""
    index = np.array([*map(labels.alphabet.index, stored.alphabet), labels.pad])
    return np.pad(index[digits], ((0, 0), (0, labels.max_length - stored.max_length)), constant_values=labels.pad)
