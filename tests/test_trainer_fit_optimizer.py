"""Each optimizer: its update rule, its learning rates, the exact resume, the average, and several replicas."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from trainer.distribute.cluster import Cluster
from trainer.distribute.strategy import make_strategy
from trainer.fit.checkpoint import Checkpoints, Progress
from trainer.fit.optimizer import averaged_weights, make_optimizer, make_schedule
from trainer.fit.step import TrainStep, _learn, make_train_step, read_totals
from trainer.input.augment import uniforms_needed
from trainer.models.layers import TrainingStandardise, flat_heads
from trainer.run.config import OPTIMIZERS, AugmentConfig, TrainConfig

_L2 = 0.01
_STATISTICS = np.float32(100.3), np.float32(60.7)
_SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {"learning_rate": 0.01},
    "adadelta": {"learning_rate": 1.0, "weight_decay": 0.0},
    "adam": {"learning_rate": 0.01, "weight_decay": 0.0, "epsilon": 1e-4},
    "sgd": {"learning_rate": 0.05, "weight_decay": 0.0, "momentum": 0.9, "nesterov": True},
}
_SIZES = (5, 4, 1, 5)
"""Sizes of global batches. Two replicas divide the first unevenly; one of them gets nothing of the third."""


def _config(name: str, **options: Any) -> TrainConfig:
    augment = AugmentConfig(contrast=0.2, brightness=10.0)
    settings = {"schedule": "constant", "decay": 0.1, "warmup_epochs": 0.0, "ema_decay": 0.5, "augment": augment}
    return TrainConfig(optimizer=name, **{**settings, **_SETTINGS[name], **options})


def _model() -> keras.Model:
    """Returns a model of single digits with statistics of the training split and a penalty, and no random layer."""
    images = keras.Input((10, 10, 1), name="image")
    values = TrainingStandardise(by_pixel=False, dtype="float32", name="standardise")(images)
    values = keras.layers.Conv2D(3, 3, kernel_regularizer=keras.regularizers.L2(_L2), name="conv")(values)
    values = keras.layers.Flatten(name="flat")(keras.layers.ReLU(name="relu")(values))
    return keras.Model(images, flat_heads(values, Labels(1), reads_length=False), name="penalised")


def _batch(size: int, seed: int) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(seed)
    batch = {
        "image": rng.integers(0, 256, (size, 10, 10, 1), np.uint8),
        "length": np.ones(size, np.int64),
        "digits": rng.integers(0, 10, (size, 1)),
        "uniform": rng.random((size, uniforms_needed(1)), np.float32),
    }
    return {name: tf.constant(value) for name, value in batch.items()}


def _start(
    strategy: tf.distribute.Strategy, config: TrainConfig
) -> tuple[keras.Model, keras.optimizers.Optimizer, TrainStep]:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = _model()
        optimizer = make_optimizer(config, make_schedule(config, 10))
        optimizer.build(model.trainable_variables)
    layer = model.get_layer("standardise")
    for weight, value in zip((layer.mean, layer.deviation, layer.count), (*_STATISTICS, 1), strict=True):
        weight.assign(value)
    return model, optimizer, make_train_step(strategy, model, optimizer, config)


def _values(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[NDArray[Any]]:
    return [np.copy(variable.numpy()) for variable in (*model.weights, *optimizer.variables)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_resumes_to_the_bit_and_has_the_weights_of_one_device_on_two_replicas(
    name: str, tmp_path: Path
) -> None:
    config = _config(name)
    model, optimizer, step = _start(tf.distribute.get_strategy(), config)
    checkpoints, before = Checkpoints(tmp_path, keep=1), model.get_weights()
    for seed, size in enumerate(_SIZES):
        if seed == 2:
            checkpoints.save(seed, Progress(step=seed), model, optimizer)
        assert read_totals(step(_batch(size, seed))).good
    uninterrupted = _values(model, optimizer)
    ended = model.get_weights()
    with averaged_weights(model, optimizer):
        averaged = model.get_weights()
    for variable in (*model.weights, *optimizer.variables):
        variable.assign(tf.zeros_like(variable) + 7)
    assert checkpoints.restore(model, optimizer) == Progress(step=2)
    for seed, size in list(enumerate(_SIZES))[2:]:
        step(_batch(size, seed))
    for found, expected in zip(_values(model, optimizer), uninterrupted, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert int(optimizer.iterations.numpy()) == len(_SIZES)
    assert np.abs(ended[-1] - before[-1]).max() > 1e-3 and np.abs(averaged[-1] - ended[-1]).max() > 1e-5

    strategy = make_strategy(Cluster(), "cpu", 1.0)
    if strategy.num_replicas_in_sync < 2:
        pytest.skip("TensorFlow has started with one device")
    other, other_optimizer, other_step = _start(strategy, config)
    for seed, size in enumerate(_SIZES):
        other_step(_batch(size, seed))
    for found, expected in zip(other.get_weights(), ended, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    statistics = [float(one.numpy()) for one in other.get_layer("standardise").weights[:2]]
    assert statistics == [float(one) for one in _STATISTICS]
    with averaged_weights(other, other_optimizer):
        for found, expected in zip(other.get_weights(), averaged, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_xla_gives_the_weights_of_the_usual_step() -> None:
    ended = []
    for jit_compile in (False, True):
        model, _, step = _start(tf.distribute.get_strategy(), _config("sgd", jit_compile=jit_compile))
        step(_batch(5, 0))
        ended.append(model.get_weights())
    for found, expected in zip(*ended, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_penalty_of_a_weight_is_in_the_gradient_once_and_not_in_the_loss() -> None:
    model, _, _ = _start(tf.distribute.get_strategy(), _config("sgd"))
    batch, kernel = _batch(5, 0), model.get_layer("conv").kernel
    arguments = (tf.cast(batch["image"], tf.float32), batch["length"], batch["digits"], tf.constant(5.0))
    with_penalty, sums = _learn(model, 0.1, *arguments)
    model.get_layer("conv").kernel.regularizer = None
    without, plain = _learn(model, 0.1, *arguments)
    np.testing.assert_allclose(with_penalty[0] - without[0], 2 * _L2 * kernel.numpy(), atol=1e-6)
    np.testing.assert_array_equal(sums, plain)
    for one, other in zip(with_penalty[1:], without[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def _sgd(weight: float, gradients: list[float], rate: float, decay: float, momentum: float) -> float:
    """Returns a weight after SGD as Keras 2 had it: Nesterov's momentum, the rate over 1 + decay * iterations."""
    velocity = 0.0
    for step, gradient in enumerate(gradients):
        falling = rate / (1 + decay * step)
        velocity = momentum * velocity - falling * gradient
        weight += momentum * velocity - falling * gradient
    return weight


def _adadelta(weight: float, gradients: list[float], rate: float, epsilon: float, rho: float = 0.95) -> float:
    """Returns a weight after Adadelta (Zeiler 2012, algorithm 1), times a learning rate."""
    squares = updates = 0.0
    for gradient in gradients:
        squares = rho * squares + (1 - rho) * gradient**2
        update = -((updates + epsilon) ** 0.5) / (squares + epsilon) ** 0.5 * gradient
        updates = rho * updates + (1 - rho) * update**2
        weight += rate * update
    return weight


def _adam(weight: float, gradients: list[float], rate: float, epsilon: float) -> float:
    """Returns a weight after Adam with the epsilon of Kingma and Ba 2014, section 2: outside the corrected root."""
    first = second = 0.0
    for step, gradient in enumerate(gradients, 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = rate * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
        weight -= corrected * first / (second**0.5 + epsilon)
    return weight


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_makes_the_updates_of_its_paper(name: str) -> None:
    config = _config(name, clip_norm=0.0, ema_decay=0.0, decay=0.0 if name != "sgd" else 0.5)
    gradients = [0.02, -0.01, 0.03, 0.001, -0.04]
    optimizer = make_optimizer(config, make_schedule(config, 10))
    weight = keras.Variable(1.0, name="weight")
    optimizer.build([weight])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [weight])
    rate = config.learning_rate
    if name == "sgd":
        expected = _sgd(1.0, gradients, rate, 0.5, 0.9)
    elif name == "adadelta":
        expected = _adadelta(1.0, gradients, rate, config.epsilon)
    elif name == "adam":
        expected = _adam(1.0, gradients, rate, 1e-4)
    else:
        # The decay is apart from the gradients' update (Loshchilov and Hutter 2017), by the learning rate.
        expected = 1.0
        updates = [_adam(0.0, gradients[:count], rate, config.epsilon) for count in range(len(gradients) + 1)]
        for before, after in pairwise(updates):
            expected = expected * (1 - rate * config.weight_decay) + after - before
    assert float(weight.numpy()) == pytest.approx(expected, abs=1e-6)


def test_gradients_are_clipped_by_the_norm_of_all_or_not_at_all() -> None:
    for clip_norm, expected in ((0.0, [-3.0, -4.0]), (1.0, [-0.6, -0.8])):
        settings = {"momentum": 0.0, "nesterov": False, "learning_rate": 1.0, "decay": 0.0, "ema_decay": 0.0}
        optimizer = make_optimizer(_config("sgd", clip_norm=clip_norm, **settings), 1.0)
        weights = [keras.Variable(0.0), keras.Variable(0.0)]
        optimizer.build(weights)
        optimizer.apply([tf.constant(3.0), tf.constant(4.0)], weights)
        np.testing.assert_allclose([float(weight.numpy()) for weight in weights], expected, rtol=1e-6)


def test_a_constant_rate_rises_stays_and_falls_by_its_decay() -> None:
    config = _config("sgd", learning_rate=0.1, decay=0.25, warmup_epochs=1.0, epochs=3)
    schedule = make_schedule(config, 4)
    found = [float(schedule(step)) for step in range(8)]
    expected = [0.0, 0.025, 0.05, 0.075, 0.1, 0.1 / 1.25, 0.1 / 1.5, 0.1 / 1.75]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert type(schedule).from_config(schedule.get_config()).get_config() == schedule.get_config()
    still = make_schedule(_config("sgd", learning_rate=0.1, decay=0.0), 4)
    np.testing.assert_allclose([float(still(step)) for step in (0, 1000)], 0.1, rtol=1e-6)
