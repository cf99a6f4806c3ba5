"""Training step for any strategy, and the dropout masks that make it repeatable.

The step runs on `strategy.run`. Each example of the global batch has the same weight, on whichever replica it is.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer.finding.learn import finds, learn_finding, prepare_finding
from trainer.input.augment import Size, augment
from trainer.input.dataset import Batch
from trainer.input.shuffle import seed_of
from trainer.run.config import AugmentConfig, TrainConfig
from trainer.scoring.losses import evenness_loss, number_loss


class StepTotals(NamedTuple):
    """Totals of a step over all replicas.

    Attributes:
      loss: Sum of the losses of the examples; nats, of models that read.
      right: Number of examples that each head predicted right: a little stricter than the joint prediction. Of models
        that find numbers, the pictures of which they find all.
      examples: Number of examples.
      requests: Sums over the replicas of each request of their hosts, (requests,).
      good: Whether loss and gradients were finite; if not, the step changed no weight.
    """

    loss: float
    right: float
    examples: float
    requests: tuple[float, ...]
    good: bool


TrainStep = Callable[..., tf.Tensor]
"""Function of a host's batch and, optionally, its requests; `read_totals` reads what it returns."""


def read_totals(result: tf.Tensor) -> StepTotals:
    """Waits for a step to end and returns its totals."""
    loss, right, examples, norm, *requests = result.numpy().tolist()
    return StepTotals(loss, right, examples, tuple(requests), math.isfinite(loss) and math.isfinite(norm))


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    config: TrainConfig,
) -> TrainStep:
    """Returns a function that updates the model once, from a host's part of a global batch (of `training_dataset`).

    Gradients, totals and the statistics of batch normalisation are summed over all replicas in one operation. A host's
    part may be empty, but not the global batch.

    Args:
      strategy: Strategy in whose scope model and optimizer were built.
      model: Model that is trained.
      optimizer: Optimizer of the model, built.
      config: Training configuration, for augmentation, label smoothing and XLA.
    """
    # Keras clips each replica's gradients before it sums them (3.15). Here they have been summed already.
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs
    replica_gradients = _make_replica_gradients(strategy, model, config)

    def update(gradients: list[tf.Tensor]) -> None:
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    def train_step(batch: Batch, requests: tf.Tensor) -> tf.Tensor:
        gradients, totals = strategy.run(replica_gradients, args=(_split(strategy, batch), requests))
        result = strategy.experimental_local_results(totals)[0]
        is_good = tf.reduce_all(tf.math.is_finite(result))
        # Outside the replicas, where a branch must not wait for the others.
        tf.cond(is_good, lambda: _nothing(strategy.run(update, args=(gradients,))), lambda: 0)
        return result

    traced: list[Callable[[Batch, tf.Tensor], tf.Tensor]] = []

    def step(batch: Batch, requests: Sequence[float] = ()) -> tf.Tensor:
        if not traced:
            # One trace for batches of any size, including the short last one.
            spec = {name: tf.TensorSpec((None, *value.shape[1:]), value.dtype) for name, value in batch.items()}
            request_spec = tf.TensorSpec((len(requests),), tf.float32)
            traced.append(tf.function(train_step, autograph=False, input_signature=[spec, request_spec]))
        return traced[0](batch, tf.constant(requests, tf.float32, (len(requests),)))

    return step


def _make_replica_gradients(
    strategy: tf.distribute.Strategy, model: keras.Model, config: TrainConfig
) -> Callable[[Batch, tf.Tensor], tuple[list[tf.Tensor], tf.Tensor]]:
    """Returns a replica's part of a step: the gradients of the mean loss of the global batch, and the totals."""
    size = model.input_shape[1:3]
    prepare = prepare_finding if finds(model) else _prepare_reading
    learn_task: Callable[..., tuple[list[tf.Tensor], tf.Tensor]] = learn_finding if finds(model) else _learn
    several = strategy.num_replicas_in_sync > 1
    # Only those that a step changes: an average over the replicas would round those of the training split.
    normalising = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    statistics = [variable for layer in normalising for variable in layer.non_trainable_variables]

    def replica_gradients(batch: Batch, requests: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
        images, labels = prepare(batch, size, config.augment)
        count = tf.cast(tf.shape(images)[0], tf.float32)
        if several:
            # Batch normalisation of an empty batch gives NaN, so it is padded with an image that does not count.
            images = tf.pad(images, [[0, tf.maximum(1 - tf.shape(images)[0], 0)], [0, 0], [0, 0], [0, 0]])
        # XLA compiles once per shape: for full batches and for a short one. Operations on uint8 and the sums over
        # replicas stay outside. Each replica needs a function of its own, which refers to the replica's variables.
        learn = tf.function(learn_task, jit_compile=True, autograph=False) if config.jit_compile else learn_task
        # With several replicas, the size of the global batch is not known yet.
        gradients, sums = learn(model, config.label_smoothing, images, *labels, 1.0 if several else count)
        totals = tf.concat([sums, [count], requests], 0)
        if several:
            weighted = [tf.convert_to_tensor(variable) * count for variable in statistics]
            context = tf.distribute.get_replica_context()
            gradients, totals, weighted = context.all_reduce(tf.distribute.ReduceOp.SUM, (gradients, totals, weighted))
            for variable, value in zip(statistics, weighted, strict=True):
                variable.assign(value / totals[2])
            gradients = [gradient / totals[2] for gradient in gradients]
        return gradients, tf.concat([totals[:3], [tf.linalg.global_norm(gradients)], totals[3:]], 0)

    return replica_gradients


def _prepare_reading(batch: Batch, size: Size, config: AugmentConfig) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Returns augmented images, and their labels as `_learn` takes them."""
    return augment(batch["image"], size, config, batch["uniform"]), (batch["length"], batch["digits"])


def _learn(
    model: keras.Model, smoothing: float, images: tf.Tensor, length: tf.Tensor, digits: tf.Tensor, divisor: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns the gradients of the summed loss over `divisor`, and two sums: of the losses, and of right predictions.

    Penalties on weights, such as L2, are in the gradients only. There may be more images than labels; their outputs do
    not count.
    """
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        outputs = {name: tf.cast(value, tf.float32)[: tf.shape(length)[0]] for name, value in outputs.items()}
        losses = number_loss(outputs.get("length_logits"), outputs["digit_logits"], length, digits)
        loss = mixed = tf.reduce_sum(losses)
        if smoothing:
            even = evenness_loss(outputs.get("length_logits"), outputs["digit_logits"], digits)
            mixed = loss + smoothing * (tf.reduce_sum(even) - loss)
        if penalties := model.losses:
            # Once per example, so that the mean over the global batch has them once.
            mixed += tf.cast(tf.shape(length)[0], tf.float32) * tf.add_n(penalties)
        mixed /= divisor
    gradients = tape.gradient(mixed, model.trainable_variables)
    return gradients, tf.stack([loss, _count_right(outputs, length, digits)])


def _split(strategy: tf.distribute.Strategy, batch: Batch) -> Any:
    """Returns a host's batch divided among its replicas as evenly as possible."""
    if strategy.num_replicas_in_sync == 1:
        return batch
    examples = tf.shape(batch["length"])[0]
    replicas = len(strategy.extended.worker_devices)

    def part(context: tf.distribute.experimental.ValueContext) -> Batch:
        index = context.replica_id_in_sync_group % replicas
        start, stop = (examples * edge // replicas for edge in (index, index + 1))
        return {name: value[start:stop] for name, value in batch.items()}

    return strategy.experimental_distribute_values_from_function(part)


def _nothing(_: object) -> int:
    """Returns the value that a branch of `tf.cond` must have, after its work is done."""
    return 0


def _count_right(outputs: dict[str, tf.Tensor], length: tf.Tensor, digits: tf.Tensor) -> tf.Tensor:
    """Returns the number of examples whose length and digits the heads predict right, each by itself."""
    right = tf.argmax(outputs["length_logits"], -1) == length if "length_logits" in outputs else length == 1
    right_digits = tf.argmax(outputs["digit_logits"], -1) == digits
    right = right & tf.reduce_all(right_digits | (digits == outputs["digit_logits"].shape[-1]), -1)
    return tf.reduce_sum(tf.cast(right, tf.float32))


def make_masks_stateless(model: keras.Model, seed: int, step: Any) -> None:
    """Makes random layers, such as dropout, draw from (seed, layer, step, replica) instead of a state of their own.

    Call it before the model is traced. A layer that is called twice in a step draws the same values twice.

    Args:
      model: Model whose layers are changed.
      seed: Random seed of the run.
      step: Variable that counts the steps.
    """
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "_seed_generators", None)]
    for position, layer in enumerate(layers):
        for index, generator in enumerate(layer._seed_generators):
            layer_seed = seed_of(f"{seed}/mask/{position}/{index}") % (2**31 - 1)
            generator.next = partial(_draw, layer_seed, step)


def _draw(seed: int, step: Any, ordered: bool = True) -> tf.Tensor:
    """Returns a seed as `keras.random.SeedGenerator.next` does: (2,) int64, below 2**31 - 1 as Keras requires."""
    replica = tf.distribute.get_replica_context()
    index = tf.cast(replica.replica_id_in_sync_group, tf.int64)
    count = tf.cast(tf.convert_to_tensor(step), tf.int64) * replica.num_replicas_in_sync + index
    return tf.stack([tf.constant(seed, tf.int64), count])
