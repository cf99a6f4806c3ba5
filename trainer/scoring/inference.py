"""A model over a split: its answer to each example, once."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from trainer.input.augment import centre_window, random_window, window_places
from trainer.scoring.decode import Numbers, decode_numbers
from trainer.scoring.losses import number_loss


@dataclass(frozen=True)
class Answers:
    """A model's answers to a split, in stored order.

    Attributes:
      keys: of the examples.
      numbers: what the model reads.
      length: (examples,) int64, the true lengths.
      digits: (examples, 5) int64, the true digits, `PAD` behind the last.
      loss: mean of the number loss, nats.
    """

    keys: list[str]
    numbers: Numbers
    length: np.ndarray
    digits: np.ndarray
    loss: float


Forward = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def make_forward(model: keras.Model, crops: int = 1) -> Forward:
    """Returns a function from (batch, height, width, channels) uint8 pictures to the model's outputs.

    Made once for a model: each has to be traced.

    Args:
      model: takes a window of the pictures.
      crops: windows a picture, the middle first. The outputs of several are log-probabilities:
        the logarithms of the mean probabilities (Goodfellow et al. 2013, section 5.1).
    """
    _, size, _, channels = model.input_shape
    places = window_places(crops - 1)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, channels), tf.uint8)])
    def forward(images: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(images)[0]
        windows = [centre_window(images, size)]
        for place in places:
            window = random_window(images, size, tf.tile(tf.constant([place], tf.float32), [count, 1]))
            windows.append(tf.cast(window, tf.float32))
        answers = [model(tf.ensure_shape(part, (None, size, size, channels)), training=False) for part in windows]
        outputs: dict[str, tf.Tensor] = answers[0]
        if crops > 1:
            logs = {name: tf.stack([tf.nn.log_softmax(part[name]) for part in answers]) for name in outputs}
            outputs = {name: tf.reduce_logsumexp(log, axis=0) - math.log(crops) for name, log in logs.items()}
        return outputs

    made: Forward = forward
    return made


def answer(forward: Forward, batches: Iterable[dict[str, tf.Tensor]]) -> Answers:
    """Returns a model's answers to every example of `batches` (of `split_dataset`), each once."""
    keys: list[str] = []
    parts: dict[str, list[np.ndarray]] = {"length_logits": [], "digit_logits": [], "length": [], "digits": []}
    for batch in batches:
        outputs = forward(batch["image"])
        for name, part in parts.items():
            part.append((outputs if name in outputs else batch)[name].numpy())
        keys.extend(key.decode() for key in batch["key"].numpy())
    whole = {name: np.concatenate(part) for name, part in parts.items()}
    losses = number_loss(*(keras.ops.convert_to_tensor(value) for value in whole.values()))
    return Answers(
        keys=keys,
        numbers=decode_numbers(whole["length_logits"], whole["digit_logits"]),
        length=whole["length"],
        digits=whole["digits"],
        loss=float(np.mean(losses)),
    )
