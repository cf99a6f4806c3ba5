"""A run directory as training leaves it, of a model that has learned nothing: what reads models needs no training."""

from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from tfrecords.images.crop import CropSpec
from trainer.models import build_model
from trainer.run.config import TrainConfig
from trainer.run.directory import CONFIG, Run, write_json
from trainer.run.weights import save_weights


def make_run(directory: Path) -> None:
    """Random weights, with batch normalisation's averages of noise: without them every answer is nearly the same."""
    config = TrainConfig()
    directory.mkdir()
    content = {**config.to_dict(), "image_shape": [54, 54, 3], "dataset": {"crop": asdict(CropSpec())}}
    write_json(directory / CONFIG, content)
    run = Run.load(directory)
    keras.utils.set_random_seed(0)
    model = build_model(config.model, run.image_shape)
    rng = np.random.default_rng(0)
    for _ in range(20):
        model(rng.integers(0, 256, (8, *run.image_shape)).astype(np.float32), training=True)
    save_weights(model, run.weights)
