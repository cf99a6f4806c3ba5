"""What a run directory holds, and a trained model from one."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.images.crop import CropSpec
from trainer.run.config import TrainConfig

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
    """What a model was trained on and how.

    Attributes:
      directory: of the run.
      config: of the training.
      image_shape: height, width, channels that the model takes.
      crop: how the pictures of its records were cut.
      content: everything config.json holds.
    """

    directory: Path
    config: TrainConfig
    image_shape: tuple[int, int, int]
    crop: CropSpec
    content: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The file of the best weights."""
        return self.directory / WEIGHTS

    @classmethod
    def create(cls, directory: Path, content: dict[str, Any]) -> "Run":
        """Writes config.json, of what `describe_run` tells, and returns the run."""
        write_json(directory / CONFIG, content)
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> "Run":
        """Reads a run's configuration.

        Raises:
          UserError: the directory is not a run's.
        """
        path = directory / CONFIG
        if not path.is_file():
            raise UserError(
                f"{directory} is not a run directory: it has no {CONFIG}. `python -m trainer train` makes one."
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            # What came to be a setting after the run was started stood at its default until then.
            given = TrainConfig().to_dict()
            augment = given["augment"] | content["augment"]
            content = {**given, **content, "augment": augment}
            config = TrainConfig.from_dict({name: content[name] for name in given})
            height, width, channels = content["image_shape"]
            crop = CropSpec(**content["dataset"]["crop"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} must be a run's configuration.", repr(error)) from error
        return cls(directory, config, (height, width, channels), crop, content)


def describe_run(config: TrainConfig, data: Path, **facts: Any) -> dict[str, Any]:
    """Returns what config.json holds.

    Args:
      config: of the training.
      data: the dataset directory.
      **facts: of how it is trained.
    """
    manifest = Manifest.load(data)
    return {
        **config.to_dict(),
        "image_shape": list(model_input_shape(manifest)),
        "data": str(data),
        "dataset": {
            "name": manifest.name,
            "manifest_sha256": hashlib.sha256((data / MANIFEST).read_bytes()).hexdigest(),
            "examples": {name: split.examples for name, split in manifest.splits.items()},
            "crop": manifest.config["crop"],
        },
        **facts,
    }


def model_input_shape(manifest: Manifest) -> tuple[int, int, int]:
    """Returns height, width and channels of the pictures that a model of this dataset takes."""
    size = CropSpec(**manifest.config["crop"]).record_size
    return size, size, manifest.image.shape[2]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file, whole or not at all."""
    with atomic_write(path) as stream:
        stream.write((json.dumps(content, indent=2) + "\n").encode())
