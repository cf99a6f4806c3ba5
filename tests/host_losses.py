"""Losses of two epochs of the same global batches on the hosts of TF_CONFIG.

The last batch of an epoch is short: the last host's part of it is empty.
"""

import json
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf

from trainer.distribute.cluster import Cluster
from trainer.distribute.strategy import make_strategy
from trainer.fit.step import make_train_step, read_totals
from trainer.input.augment import uniforms_needed
from trainer.models import computing_in
from trainer.run.config import AugmentConfig, TrainConfig

SIZES = (8, 8, 3)


def _model() -> keras.Model:
    images = keras.Input((54, 54, 3), name="image")
    values = keras.layers.Flatten()(keras.layers.AveragePooling2D(6)(images / 255.0))
    values = keras.layers.Dense(32, activation="relu")(values)
    length, digits = keras.layers.Dense(7)(values), keras.layers.Dense(50)(values)
    return keras.Model(images, {"length_logits": length, "digit_logits": keras.layers.Reshape((5, 10))(digits)})


def losses(cluster: Cluster, strategy: tf.distribute.Strategy, **settings: Any) -> list[float]:
    """Returns the mean losses of the steps; `settings` are `TrainConfig`'s."""
    config = TrainConfig(augment=AugmentConfig(contrast=0.2, brightness=10.0), **settings)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        with computing_in(config.precision):
            model = _model()
        # Clipped at a norm that is exceeded: that of the global batch's gradients, not of each replica's.
        optimizer = keras.optimizers.SGD(0.05, global_clipnorm=1.0)
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, optimizer, config)
    rng, found = np.random.default_rng(0), []
    for size in SIZES * 2:
        whole: dict[str, Any] = {
            "image": rng.integers(0, 256, (size, 54, 54, 3)).astype(np.uint8),
            "length": rng.integers(1, 6, size),
            "digits": rng.integers(0, 10, (size, 5)),
            "uniform": rng.random((size, uniforms_needed(3))).astype(np.float32),
        }
        each = max(SIZES) // cluster.hosts
        part = {name: tf.constant(value[cluster.host * each :][:each]) for name, value in whole.items()}
        totals = read_totals(step(part))
        assert totals.good and totals.examples == size
        found.append(totals.loss / totals.examples)
    return found


def run() -> int:
    """Prints the losses as JSON: of the usual step, and of one that XLA compiles."""
    # It takes longer than such small graphs run.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    place = Cluster.from_environment(os.environ)
    hosts = make_strategy(place, "cpu", minutes=5.0)
    print(json.dumps([losses(place, hosts, jit_compile=jit_compile) for jit_compile in (False, True)]))
    return 0
