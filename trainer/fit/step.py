"""One training step for every strategy, on `strategy.run`: each example of the global batch weighs the same."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrecords.record.schema import PAD
from trainer.input.augment import augment
from trainer.input.dataset import Batch
from trainer.input.shuffle import seed_of
from trainer.run.config import TrainConfig
from trainer.scoring.losses import evenness_loss, number_loss


class StepTotals(NamedTuple):
    """What a step gives, over all replicas.

    Attributes:
      loss: sum of the number losses, nats.
      right: count of right numbers, by the best answer of each head: a little stricter than the joint answer.
      examples: how many.
      wishes: (wishes,) sums over the replicas of what their hosts wished.
      good: whether loss and gradients were finite; where not, no weight was changed.
    """

    loss: float
    right: float
    examples: float
    wishes: tuple[float, ...]
    good: bool


TrainStep = Callable[..., tf.Tensor]
"""From a host's batch and its wishes, by default none, to what `read_totals` reads."""


def read_totals(result: tf.Tensor) -> StepTotals:
    """Waits for a step to end and returns its totals."""
    loss, right, examples, norm, *wishes = result.numpy().tolist()
    return StepTotals(loss, right, examples, tuple(wishes), math.isfinite(loss) and math.isfinite(norm))


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
) -> TrainStep:
    """Returns a function that takes a host's part of a global batch (of `training_dataset`) and updates the model once.

    Gradients, totals and the statistics of batch normalisation are summed over all replicas at one go, each
    example weighing the same, wherever it lands. A host's part may be empty, but not the global batch.
    """
    # Keras sums gradients over replicas only after it has clipped them, each replica's by themselves (3.15): here
    # they are sums already.
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs
    replica_gradients = _make_replica_gradients(strategy, model, config)

    def update(gradients: list[tf.Tensor]) -> None:
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    def train_step(batch: Batch, wishes: tf.Tensor) -> tf.Tensor:
        gradients, totals = strategy.run(replica_gradients, args=(_split(strategy, batch), wishes))
        result = strategy.experimental_local_results(totals)[0]
        is_good = tf.reduce_all(tf.math.is_finite(result))
        # Not within the replicas, where no branch may wait for the others.
        tf.cond(is_good, lambda: _nothing(strategy.run(update, args=(gradients,))), lambda: 0)
        return result

    traced: list[Callable[[Batch, tf.Tensor], tf.Tensor]] = []

    def step(batch: Batch, wishes: Sequence[float] = ()) -> tf.Tensor:
        if not traced:
            # One trace for batches of any size, the short last one too.
            spec = {name: tf.TensorSpec((None, *value.shape[1:]), value.dtype) for name, value in batch.items()}
            wish_spec = tf.TensorSpec((len(wishes),), tf.float32)
            traced.append(tf.function(train_step, input_signature=[spec, wish_spec]))
        return traced[0](batch, tf.constant(wishes, tf.float32, (len(wishes),)))

    return step


def _make_replica_gradients(
    strategy: tf.distribute.Strategy, model: keras.Model, config: TrainConfig
) -> Callable[[Batch, tf.Tensor], tuple[list[tf.Tensor], tf.Tensor]]:
    """Returns a replica's part of a step: gradients of the mean loss of the global batch, and the totals."""
    size = model.input_shape[1]
    several = strategy.num_replicas_in_sync > 1
    statistics = [variable for variable in model.non_trainable_variables if variable.dtype.startswith("float")]

    def replica_gradients(batch: Batch, wishes: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        images = augment(batch["image"], size, config.augment, batch["uniform"])
        count = tf.cast(tf.shape(images)[0], tf.float32)
        if several:
            # Batch normalisation of nothing is not a number: a picture that counts nothing stands in.
            images = tf.pad(images, [[0, tf.maximum(1 - tf.shape(images)[0], 0)], [0, 0], [0, 0], [0, 0]])
        # XLA compiles anew for each shape: those of a full batch and of a short one. What is above it, on uint8, and
        # the sums over replicas stay outside. A function of its own for each replica, whose variables it holds.
        learn = tf.function(_learn, jit_compile=True, autograph=False) if config.jit_compile else _learn
        # Where there are others, the examples of the global batch are not known yet.
        gradients, sums = learn(
            model, config.label_smoothing, images, batch["length"], batch["digits"], 1.0 if several else count
        )
        totals = tf.concat([sums, [count], wishes], 0)
        if several:
            weighted = [tf.convert_to_tensor(variable) * count for variable in statistics]
            context = tf.distribute.get_replica_context()
            gradients, totals, weighted = context.all_reduce(tf.distribute.ReduceOp.SUM, (gradients, totals, weighted))
            for variable, value in zip(statistics, weighted, strict=True):
                variable.assign(value / totals[2])
            gradients = [gradient / totals[2] for gradient in gradients]
        return gradients, tf.concat([totals[:3], [tf.linalg.global_norm(gradients)], totals[3:]], 0)

    return replica_gradients


def _learn(
    model: keras.Model, smoothing: float, images: tf.Tensor, length: tf.Tensor, digits: tf.Tensor, divisor: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns the gradients of the summed loss over `divisor`, and two sums: of the losses, and of right numbers.

    There may be more images than labels: what the model says to them does not count.
    """
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        outputs = {name: tf.cast(value, tf.float32)[: tf.shape(length)[0]] for name, value in outputs.items()}
        losses = number_loss(outputs["length_logits"], outputs["digit_logits"], length, digits)
        loss = mixed = tf.reduce_sum(losses)
        if smoothing:
            even = evenness_loss(outputs["length_logits"], outputs["digit_logits"], digits)
            mixed = loss + smoothing * (tf.reduce_sum(even) - loss)
        mixed /= divisor
    gradients = tape.gradient(mixed, model.trainable_variables)
    return gradients, tf.stack([loss, _count_right(outputs, length, digits)])


def _split(strategy: tf.distribute.Strategy, batch: Batch) -> Any:
    """Returns a host's batch dealt out to its replicas as evenly as can be."""
    if strategy.num_replicas_in_sync == 1:
        return batch
    examples = tf.shape(batch["length"])[0]
    replicas = len(strategy.extended.worker_devices)

    def part(context: tf.distribute.experimental.ValueContext) -> Batch:
        place = context.replica_id_in_sync_group % replicas
        start, stop = (examples * edge // replicas for edge in (place, place + 1))
        return {name: value[start:stop] for name, value in batch.items()}

    return strategy.experimental_distribute_values_from_function(part)


def _nothing(_: object) -> int:
    """Returns a value for a branch, beside what was done in it."""
    return 0


def _count_right(outputs: dict[str, tf.Tensor], length: tf.Tensor, digits: tf.Tensor) -> tf.Tensor:
    right = tf.argmax(outputs["length_logits"], -1) == length
    right_digits = tf.argmax(outputs["digit_logits"], -1) == digits
    right = right & tf.reduce_all(right_digits | (digits == PAD), -1)
    return tf.reduce_sum(tf.cast(right, tf.float32))


def make_masks_stateless(model: keras.Model, seed: int, step: Any) -> None:
    """Has each layer of `model` that draws random numbers draw them from (seed, layer, step, replica).

    Call it before the model is traced. A layer draws the same numbers twice where it is called twice in a step.

    Args:
      model: whose layers may have seed generators.
      seed: of the run.
      step: variable that counts the steps.
    """
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "_seed_generators", None)]
    for place, layer in enumerate(layers):
        for index, generator in enumerate(layer._seed_generators):
            own = seed_of(f"{seed}/mask/{place}/{index}") % (2**31 - 1)
            generator.next = partial(_draw, own, step)


def _draw(seed: int, step: Any, ordered: bool = True) -> tf.Tensor:
    """Returns what `keras.random.SeedGenerator.next` does: (2,) int64, below 2**31 - 1 as Keras wants it."""
    replica = tf.distribute.get_replica_context()
    place = tf.cast(replica.replica_id_in_sync_group, tf.int64)
    count = tf.cast(tf.convert_to_tensor(step), tf.int64) * replica.num_replicas_in_sync + place
    return tf.stack([tf.constant(seed, tf.int64), count])
