"""Run directory: names of its files, and the configuration of a run read from it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.images.crop import CropSpec
from trainer.run.config import AugmentConfig, TrainConfig, present_names

CONFIG = "config.json"
WEIGHTS = "best.weights.h5"
HISTORY = "history.jsonl"
EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.parquet"
REPORT = "report.html"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Run:
    """How a model was trained, and on what data.

    Attributes:
      directory: Run directory.
      config: Training configuration.
      image_shape: Height, width and channels of the model's input.
      crop: Crop of the pictures that the records were made with.
      content: Content of config.json, with present names and the defaults of settings that it lacks.
    """

    directory: Path
    config: TrainConfig
    image_shape: tuple[int, int, int]
    crop: CropSpec
    content: dict[str, Any]

    @property
    def weights(self) -> Path:
        """File of the best weights."""
        return self.directory / WEIGHTS

    @classmethod
    def load(cls, directory: Path) -> "Run":
        """Reads a run's configuration.

        Raises:
          UserError: The directory is not a run directory, or its configuration is damaged.
        """
        path = directory / CONFIG
        if not path.is_file():
            raise UserError(
                f"{directory} is not a run directory: it has no {CONFIG}. `python -m trainer train` makes one."
            )
        try:
            content = _with_defaults(json.loads(path.read_text(encoding="utf-8")))
            config = TrainConfig.from_dict({name: content[name] for name in TrainConfig().to_dict()})
            height, width, channels = content["image_shape"]
            crop = CropSpec(**content["dataset"]["crop"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} must be a run's configuration.", repr(error)) from error
        return cls(directory, config, (height, width, channels), crop, content)


def _with_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Returns config.json's content as this version writes it.

    A setting that did not exist when the run was started had its present default then.
    """
    given = TrainConfig().to_dict()
    augment = {**given["augment"], **present_names(content["augment"], AugmentConfig)}
    return {**given, **present_names(content, TrainConfig), "augment": augment}


def model_input_shape(manifest: Manifest) -> tuple[int, int, int]:
    """Returns height, width and channels of the images that a model of this dataset takes."""
    size = CropSpec(**manifest.config["crop"]).record_size
    return size, size, manifest.image.shape[2]


def path_beside(directory: Path, ending: str) -> Path:
    """Returns the path next to a directory with an ending added to its name."""
    named = directory if directory.name not in ("", "..") else directory.resolve()
    return named.with_name(named.name + ending)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file atomically."""
    with atomic_write(path) as stream:
        stream.write((json.dumps(content, indent=2) + "\n").encode())
