"""Losses of a small model on one and on two replicas."""

import json
from pathlib import Path

import keras
import tensorflow as tf

from trainer.fit.step import make_train_step, read_totals
from trainer.input.dataset import open_images, training_dataset
from trainer.run.config import AugmentConfig, TrainConfig


def _losses(records: Path, replicas: int, batch: int) -> list[float]:
    """Returns the losses of two epochs of a model without dropout and batch normalisation."""
    devices = [device.name for device in tf.config.list_logical_devices("CPU")][:replicas]
    pictures = open_images(records, "train")
    config = TrainConfig(global_batch_size=batch, augment=AugmentConfig(0.2, 10.0, 0.5))
    strategy = tf.distribute.MirroredStrategy(devices)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        images = keras.Input((54, 54, 3))
        flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(6)(images / 255.0))
        hidden = keras.layers.Dense(32, activation="relu")(flat)
        outputs = {
            "length_logits": keras.layers.Dense(7)(hidden),
            "digit_logits": keras.layers.Reshape((5, 10))(keras.layers.Dense(50)(hidden)),
        }
        model = keras.Model(images, outputs)
        optimizer = keras.optimizers.AdamW(1e-3)
        optimizer.build(model.trainable_variables)
    step = make_train_step(strategy, model, optimizer, config)
    losses = []
    for epoch in range(2):
        for batch in training_dataset(pictures, config, epoch):
            totals = read_totals(step(batch))
            losses.append(totals.loss / totals.examples)
    return losses


def run(records: Path, batch: int) -> int:
    """Prints the losses on one and on two replicas as JSON."""
    (device,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    print(json.dumps([_losses(records, replicas, batch) for replicas in (1, 2)]))
    return 0
