"""One training loop for every strategy: steps on `strategy.run`, losses summed over replicas."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrecords.schema import PAD
from trainer.augment import augment, centre_window
from trainer.config import TrainConfig
from trainer.decode import Numbers, decode_numbers
from trainer.losses import number_loss


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
TrainStep = Callable[[Iterator[Any]], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
) -> TrainStep:
    """Returns a function that takes the next global batch of an iterator and updates the model once.

    It returns the batch's summed loss, its count of right numbers (by the best answer of
    each head, a little stricter than the joint answer's) and its count of examples.
    """
    size = model.input_shape[1]

    def replica_step(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images = augment(batch["image"], size, config.augment, batch["uniform"])
        count = tf.cast(tf.shape(batch["length"])[0], tf.float32)
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, count)
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            losses = number_loss(outputs["length_logits"], outputs["digit_logits"], batch["length"], batch["digits"])
            # Divided by the global count, a replica with fewer examples weighs less: the sum over replicas
            # is the mean over the global batch, also of a short last one.
            loss = tf.reduce_sum(losses) / total
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return tf.reduce_sum(losses), _count_right(outputs, batch), count

    @tf.function
    def train_step(iterator: Iterator[Any]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        results = strategy.run(replica_step, args=(next(iterator),))
        loss, right, count = (strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for value in results)
        return loss, right, count

    step: TrainStep = train_step
    return step


def make_forward(model: keras.Model) -> Forward:
    """Returns a function from (batch, height, width, channels) uint8 pictures to the model's outputs for their middle.

    Made once for a model: each has to be traced.
    """
    _, size, _, channels = model.input_shape

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, channels), tf.uint8)])
    def forward(images: tf.Tensor) -> dict[str, tf.Tensor]:
        views = tf.ensure_shape(centre_window(images, size), (None, size, size, channels))
        outputs: dict[str, tf.Tensor] = model(views, training=False)
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


def _count_right(outputs: dict[str, tf.Tensor], batch: dict[str, tf.Tensor]) -> tf.Tensor:
    length = tf.argmax(outputs["length_logits"], -1) == batch["length"]
    digits = tf.argmax(outputs["digit_logits"], -1) == batch["digits"]
    right = length & tf.reduce_all(digits | (batch["digits"] == PAD), -1)
    return tf.reduce_sum(tf.cast(right, tf.float32))
