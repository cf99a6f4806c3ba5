"""A run directory as training leaves it, of a model that has learned nothing: what reads models needs no training."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels
from trainer.models import build_model
from trainer.models.layers import TrainingStandardise
from trainer.run.config import TrainConfig
from trainer.run.directory import CONFIG, Run, write_json
from trainer.run.weights import save_weights

_DIGITS = Labels()


def make_run(
    directory: Path, labels: Labels = _DIGITS, image_shape: tuple[int, int, int] = (54, 54, 3), **config: Any
) -> None:
    """Random weights, with batch normalisation's averages of noise: without them every answer is nearly the same.

    Statistics of the training split are invented too.
    """
    settings = TrainConfig(**config)
    height, width, _ = image_shape
    crop = CropSpec(crop_size=height + 10, record_size=height, aspect=width / height)
    directory.mkdir()
    dataset = {"crop": asdict(crop), **asdict(labels)}
    facts = {"image_shape": list(image_shape), "reads_length": labels.max_length > 1}
    content = {**settings.to_dict(), **facts, "dataset": dataset}
    write_json(directory / CONFIG, content)
    run = Run.load(directory)
    keras.utils.set_random_seed(0)
    model = build_model(settings.model, run.image_shape, labels)
    for layer in model.layers:
        if isinstance(layer, TrainingStandardise):
            for weight, value in zip((layer.mean, layer.deviation, layer.count), (120, 70, 1), strict=True):
                weight.assign(np.full(weight.shape, value))
    rng = np.random.default_rng(0)
    for _ in range(20):
        model(rng.integers(0, 256, (8, *run.image_shape)).astype(np.float32), training=True)
    save_weights(model, run.weights)
