"""Run directory: names of its files, and the configuration of a run read from it."""

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from tfrecords.dataset.manifest import FIND, MANIFEST, READ, TASKS, Manifest
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.files.purpose import why_not
from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels
from tfrecords.typed_json import Rule, from_json, one_of, parse_object
from trainer.run.config import AugmentConfig, TrainConfig, present_names

CONFIG = "config.json"
WEIGHTS = "best.weights.h5"
HISTORY = "history.jsonl"
CALIBRATION = "calibration.json"
EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.parquet"
REPORT = "report.html"
WITHOUT_BOX = "without-box.html"
EXPLANATION = "explain.html"
TENSORBOARD = "tensorboard"
CHECKPOINTS = "checkpoints"
CHECKPOINT_NAME = re.compile(r"step-(\d{10})\.npz")
"""Name of a checkpoint, by the number of finished steps."""
_DIGITS = Labels()
"""Labels of all datasets before they stated them: up to five digits 0..9."""
_Pixels = Annotated[int, Rule("an integer of 1 to 65536", lambda size: 1 <= size <= 65536)]
"""Height or width. A crop is up to 4,096 pixels high, and up to 16 times as wide."""


@dataclass(frozen=True)
class _Facts:
    """What config.json holds besides the training configuration, as far as it is used."""

    image_shape: tuple[_Pixels, _Pixels, Annotated[int, one_of(1, 3)]]
    reads_length: bool


@dataclass(frozen=True)
class Run:
    """How a model was trained, and on what data.

    Attributes:
      directory: Run directory.
      config: Training configuration.
      image_shape: Height, width and channels of the model's input.
      crop: Crop of the pictures that the records were made with.
      labels: Numbers that the records can hold, and the model can predict.
      reads_length: Whether the model has an output for the length; without one, each number is a single character.
      content: Content of config.json, with present names and the defaults of settings that it lacks.
      task: What the model does, one of `tfrecords.dataset.manifest.TASKS`: it reads the number in an image, or finds
        the numbers in a picture. Then there is no crop, and the labels are those of the dataset.
    """

    directory: Path
    config: TrainConfig
    image_shape: tuple[int, int, int]
    crop: CropSpec
    labels: Labels
    reads_length: bool
    content: dict[str, Any]
    task: str = READ

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
            reason = why_not(directory, CONFIG)
            raise UserError(f"{directory} is not a run directory: {reason}. `python -m trainer train` makes one.")
        content = _with_defaults(parse_object(path.read_bytes(), str(path)), str(path))
        config = from_json(TrainConfig, {name: content[name] for name in TrainConfig().to_dict()}, str(path))
        facts = from_json(_Facts, {each.name: content.get(each.name) for each in fields(_Facts)}, str(path))
        dataset = content.get("dataset")
        dataset = dataset if isinstance(dataset, dict) else {}
        task = dataset.get("task", READ)
        if task not in TASKS:
            raise UserError(f"{path}: dataset.task must be one of {', '.join(TASKS)}.", repr(task))
        crop = CropSpec() if task == FIND else _crop_spec(dataset.get("crop"), f"{path}: dataset.crop")
        labels = from_json(Labels, {name: dataset[name] for name in asdict(_DIGITS)}, f"{path}: dataset")
        if not (facts.reads_length or labels.max_length == 1):
            raise UserError(f"{path}: reads_length must be true for {labels_text(labels)}.", "false")
        return cls(directory, config, facts.image_shape, crop, labels, facts.reads_length, content, task)


def _with_defaults(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns config.json's content as this version writes it.

    A setting that did not exist when the run was started had its present default then, and so had the labels. All
    models read the length then.

    Raises:
      UserError: The content has no settings of the augmentation.
    """
    given = TrainConfig().to_dict()
    if not isinstance(content.get("augment"), dict):
        raise UserError(f"{name} must be a run's configuration: an object with an object `augment`.")
    augment = {**given["augment"], **present_names(content["augment"], AugmentConfig)}
    content = {"reads_length": True, **given, **present_names(content, TrainConfig), "augment": augment}
    if isinstance(dataset := content.get("dataset"), dict):
        content["dataset"] = {**dataset, **{name: dataset.get(name, value) for name, value in asdict(_DIGITS).items()}}
    return content


def model_input_shape(manifest: Manifest) -> tuple[int, int, int]:
    """Returns height, width and channels of the images that a model of this dataset takes.

    Raises:
      UserError: The manifest does not state the crop, or the size of the pictures.
    """
    if manifest.task == FIND:
        height, width, channels = manifest.image.shape
        if height is None or width is None:
            raise UserError(f"{MANIFEST} of {manifest.name} must state one size of all pictures.", manifest.image.shape)
        return height, width, channels
    return *dataset_crop(manifest).record_shape, manifest.image.shape[2]


def reads_length(manifest: Manifest) -> bool:
    """Returns whether a model of this dataset needs an output for the length: not where each number is one character.

    Crops without a number (`prepare --backgrounds`) are numbers of no character.
    """
    return manifest.labels.max_length > 1 or bool(manifest.config.get("backgrounds"))


def labels_text(labels: Labels) -> str:
    """Returns labels as words: numbers of up to 5 of '0123456789', or single characters of them."""
    if labels.max_length == 1:
        return f"single characters of {labels.alphabet!r}"
    return f"numbers of up to {labels.max_length} of {labels.alphabet!r}"


def path_beside(directory: Path, ending: str) -> Path:
    """Returns the path next to a directory with an ending added to its name."""
    named = directory if directory.name not in ("", "..") else directory.resolve()
    return named.with_name(named.name + ending)


def dataset_crop(manifest: Manifest) -> CropSpec:
    """Returns the crop that the records of a dataset were made with.

    Raises:
      UserError: The manifest does not state it, or it is out of range.
    """
    return _crop_spec(manifest.config.get("crop"), f"{MANIFEST} of {manifest.name}: config.crop")


def _crop_spec(value: Any, name: str) -> CropSpec:
    return from_json(CropSpec, {**asdict(CropSpec()), **value} if isinstance(value, dict) else value, name)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file atomically."""
    with atomic_write(path) as stream:
        stream.write((json.dumps(content, indent=2) + "\n").encode())
