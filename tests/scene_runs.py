"""Runs of a model that finds numbers and is traced in a second: the trainer's command line, and two replicas."""

import json
from pathlib import Path

import keras
import tensorflow as tf

from tests import tiny
from tfrecords.record.labels import Labels
from trainer.fit.step import make_train_step, read_totals
from trainer.input.dataset import training_dataset
from trainer.input.records import Records
from trainer.models import FINDERS
from trainer.run.config import AugmentConfig, TrainConfig

_DIGITS = Labels()
NAME = "tiny_finder"


def build(
    image_shape: tuple[int, int, int],
    labels: Labels = _DIGITS,
    reads_length: bool = True,
    has_state: bool = True,
) -> keras.Model:
    """Returns a model of stride 8; `has_state`: with batch normalisation and dropout."""
    images = keras.Input(image_shape, name="image")
    values = keras.layers.Conv2D(16, 8, strides=8, activation="relu", name="patches")(images / 255.0)
    if has_state:
        values = keras.layers.BatchNormalization(name="norm")(values)
        values = keras.layers.Dropout(0.1, name="dropout")(values)
    values = keras.layers.Conv2D(32, 5, padding="same", activation="relu", name="context")(values)
    rare = keras.initializers.Constant(-4.0)
    outputs = {
        "heat_logits": keras.layers.Conv2D(1, 1, bias_initializer=rare, name="heat_logits")(values),
        "distance_logits": keras.layers.Conv2D(4, 1, name="distance_logits")(values),
    }
    return keras.Model(images, outputs, name=NAME)


def run(command: list[str], kill: str = "") -> int:
    """Runs a command of the trainer's, as `tests.tiny.run` does."""
    FINDERS[NAME] = build
    return tiny.run(command, kill)


def _losses(records: Path, replicas: int, batch: int) -> list[float]:
    """Returns the losses of two epochs."""
    devices = [device.name for device in tf.config.list_logical_devices("CPU")][:replicas]
    opened = Records.open(records)
    images = opened.scenes("train")
    config = TrainConfig(global_batch_size=batch, augment=AugmentConfig(0.2, 10.0, 0.5, zoom=0.2, translate=0.1))
    strategy = tf.distribute.MirroredStrategy(devices)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build((64, 64, 3), has_state=False)
        optimizer = keras.optimizers.AdamW(1e-3)
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, optimizer, config)
    losses = []
    for epoch in range(2):
        for each in training_dataset(images, config, epoch):
            totals = read_totals(step(each))
            losses.append(totals.loss / totals.examples)
    return losses


def run_replicas(records: Path, batch: int) -> int:
    """Prints the losses on one and on two replicas as JSON."""
    (device,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    print(json.dumps([_losses(records, replicas, batch) for replicas in (1, 2)]))
    return 0
