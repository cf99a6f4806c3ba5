"""One training step on each of Keras's backends, with the trainer's augmentation, loss and optimizer.

Import it last: Keras fixes its backend, KERAS_BACKEND, when it is first imported.

step = make_step(model, make_optimizer(config, config.learning_rate), config)
loss = step(put_on_device(source.read(0)), 1e-3)
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import keras
from keras import ops

from benchmarks.gpu.input import HostBatch
from trainer.input.augment import augment
from trainer.run.config import TrainConfig
from trainer.scoring.losses import evenness_loss, number_loss

Tensor = Any
Batch = dict[str, Tensor]


class Step(Protocol):
    """A training step."""

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        """Trains on a batch and returns its mean loss, nats, without waiting for it."""

    def finish(self) -> None:
        """Moves the trained weights into the model, if they are elsewhere."""


def set_precision(name: str) -> None:
    """Sets the precision of products; must be called before a model is built.

    Args:
      name: float32 for all 24 bits of significance; tf32 for 11 bits, on chips that support it; mixed_bfloat16 for 8
        bits, also for stored values between layers, while weights and the optimizer's state stay float32.
    """
    keras.config.set_dtype_policy("mixed_bfloat16" if name == "mixed_bfloat16" else "float32")
    is_tf32 = name != "float32"
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if is_tf32 else "float32")
    elif backend == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = is_tf32
        # Shapes never change here, so the search for the fastest kernel of each convolution runs once.
        torch.backends.cudnn.benchmark = True
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(is_tf32)


def put_on_device(batch: HostBatch) -> Batch:
    """Returns a batch on the device; its copy may still be in progress."""
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            return _copy_in_own_cuda_stream(batch)
    return {name: ops.convert_to_tensor(value) for name, value in batch.items()}


def _copy_in_own_cuda_stream(batch: HostBatch) -> Batch:
    """Copies a batch in a separate stream; in the steps' stream it would wait for all queued steps."""
    import torch

    stream = _copy_stream()
    with torch.cuda.stream(stream):
        placed = {name: torch.from_numpy(value).pin_memory().cuda(non_blocking=True) for name, value in batch.items()}
    stream.synchronize()
    for value in placed.values():
        # Otherwise the memory could be reused while a step that reads it is still queued.
        value.record_stream(torch.cuda.default_stream())
    return placed


@cache
def _copy_stream() -> Any:
    import torch

    return torch.cuda.Stream()


def make_step(model: keras.Model, optimizer: keras.optimizers.Optimizer, config: TrainConfig) -> Step:
    """Returns the training step for Keras's backend; its first calls compile it.

    Args:
      model: Untrained model.
      optimizer: Optimizer from `make_optimizer`, with a constant as learning rate, not a schedule.
      config: Configuration with the augmentation and label smoothing.
    """
    optimizer.build(model.trainable_variables)
    kinds: dict[str, Callable[..., Step]] = {"jax": _JaxStep, "torch": _TorchStep, "tensorflow": _TensorflowStep}
    return kinds[keras.backend.backend()](model, optimizer, config)


class _JaxStep:
    """Passes all state through one compiled function, which reuses its memory."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: TrainConfig) -> None:
        import jax

        rate_at = next(at for at, one in enumerate(optimizer.variables) if one is optimizer.learning_rate)
        self._variables = model.trainable_variables, model.non_trainable_variables, optimizer.variables
        self._values: tuple[list[Tensor], ...] | None = None

        def compute_loss(trainable: list[Tensor], rest: list[Tensor], batch: Batch) -> tuple[Tensor, list[Tensor]]:
            images = augment(batch["image"], model.input_shape[1:3], config.augment, batch["uniform"])
            outputs, rest = model.stateless_call(trainable, rest, images, training=True)
            return mean_loss(outputs, batch, config), rest

        def train(values: tuple[list[Tensor], ...], batch: Batch, learning_rate: float) -> tuple[Any, Tensor]:
            trainable, rest, kept = values
            kept = [*kept[:rate_at], ops.cast(learning_rate, "float32"), *kept[rate_at + 1 :]]
            (loss, rest), gradients = jax.value_and_grad(compute_loss, has_aux=True)(trainable, rest, batch)
            trainable, kept = optimizer.stateless_apply(kept, gradients, trainable)
            return (trainable, rest, kept), loss

        self._train = jax.jit(train, donate_argnums=0)

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        values = self._values or tuple([variable.value for variable in part] for part in self._variables)
        self._values, loss = self._train(values, batch, learning_rate)
        return loss

    def finish(self) -> None:
        for part, values in zip(self._variables, self._values or (), strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        self._values = None


class _TorchStep:
    """Runs operation by operation."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: TrainConfig) -> None:
        self._model, self._optimizer, self._config = model, optimizer, config

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        import torch

        variables = self._model.trainable_variables
        images = augment(batch["image"], self._model.input_shape[1:3], self._config.augment, batch["uniform"])
        self._model.zero_grad()
        loss = mean_loss(self._model(images, training=True), batch, self._config)
        loss.backward()
        with torch.no_grad():
            self._optimizer.learning_rate = learning_rate
            self._optimizer.apply([variable.value.grad for variable in variables], variables)
        return loss.detach()

    def finish(self) -> None:
        """Does nothing: the model's variables are the trained weights."""


class _TensorflowStep:
    """Runs as a TensorFlow graph."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer, config: TrainConfig) -> None:
        import tensorflow as tf

        @tf.function
        def train(batch: Batch, learning_rate: Tensor) -> Tensor:
            optimizer.learning_rate.assign(learning_rate)
            images = augment(batch["image"], model.input_shape[1:3], config.augment, batch["uniform"])
            with tf.GradientTape() as tape:
                loss = mean_loss(model(images, training=True), batch, config)
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return loss

        self._train = train

    def __call__(self, batch: Batch, learning_rate: float) -> Tensor:
        return self._train(batch, ops.convert_to_tensor(learning_rate, "float32"))

    def finish(self) -> None:
        """Does nothing: the model's variables are the trained weights."""


def mean_loss(outputs: dict[str, Tensor], batch: Batch, config: TrainConfig) -> Tensor:
    """Returns the trainer's loss: that of the number, mixed by label smoothing with that of uniform targets."""
    lengths, digits = outputs.get("length_logits"), outputs["digit_logits"]
    loss = ops.mean(number_loss(lengths, digits, batch["length"], batch["digits"]))
    if not config.label_smoothing:
        return loss
    even = ops.mean(evenness_loss(lengths, digits, batch["digits"]))
    return loss + config.label_smoothing * (even - loss)
