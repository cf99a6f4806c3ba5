"""Weights of a model: written to a run directory, and read from one."""

import warnings
from pathlib import Path

import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_path, reserve
from tfrecords.record.labels import Labels
from tfrecords.typed_json import shorten
from trainer.models import build_model
from trainer.models.layers import TrainingStandardise
from trainer.pretrained import run_directory
from trainer.run.cut import Cut, check_cut, differences, run_cut
from trainer.run.directory import WEIGHTS, Run
from trainer.run.stand_in import stand_in_of
from trainer.run.transfer import transfer

_DIGITS = Labels()
_HEADER_BYTES = 1 << 20
"""Bytes that a file has at most besides its weights: names and HDF5's tables."""


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights atomically to `path`, which must end in `.weights.h5`."""
    # Keras requires the suffix; the temporary path has it too.
    with atomic_path(path, sole_writer=True) as temporary:
        reserve(temporary, sum(weight.numpy().nbytes for weight in model.weights) + _HEADER_BYTES)
        model.save_weights(temporary)


def start_from(
    model: keras.Model,
    source: str,
    cut: Cut | None = None,
    allow_other_crop: bool = False,
    labels: Labels = _DIGITS,
) -> str:
    """Sets a model's weights to the best weights of another run of the same architecture.

    Numbers of another length or alphabet, and images of another size or number of channels, take what fits: see
    `trainer.run.transfer`.

    Args:
      model: Model that is changed.
      source: Run directory, or the name of weights of the package: `pretrained` or `pretrained-mnist`.
      cut: Cut of the images that the model will be trained on; None does not compare it.
      allow_other_crop: Whether the source's images may have had another growth or crop size. Images of another size
        always may.
      labels: Numbers that the model will be trained on.

    Returns:
      Sentences that say which weights are new or changed, and how the images differ; empty if nothing does.

    Raises:
      UserError: The source is not a run directory, has no weights, or is of another architecture, or of another cut
        for images of the same size.
    """
    run = Run.load(run_directory(source))
    if run.config.model != model.name:
        raise UserError(f"{source} must be a run of {model.name}.", run.config.model)
    expected = run_cut(run)
    found = {name: value for name, value in (cut or {}).items() if name != "channels"}
    framing: dict[str, str] = {}
    if run.image_shape[:2] == model.input_shape[1:3]:
        rule = f"The dataset must be cut as the images that {source} was trained on"
        check_cut(found, expected, rule, allow_other_crop)
    elif "growth" in found:
        framing = differences({"growth": found["growth"]}, expected)
    told = transfer(load_model(run), run.labels, model, labels)
    return " ".join([told, *(f"The images are cut with {one}." for one in framing.values())])


def load_model(run: Run) -> keras.Model:
    """Returns the run's model with its best weights.

    Raises:
      UserError: The run has no weights, or they are of another architecture, or not finite.
    """
    stand_in_of(run.directory).fetch(WEIGHTS)
    if not run.weights.is_file():
        raise UserError(
            f"{run.directory} has no {WEIGHTS}: training stopped before the end of its first epoch, "
            "or it holds an evaluation only."
        )
    model = build_model(run.config.model, run.image_shape, run.labels, run.reads_length)
    try:
        with warnings.catch_warnings():
            # Keras warns of weights that are missing from the file, and leaves random ones in their place.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(run.weights)
    # Keras and HDF5 raise whatever a damaged file leads them to.
    except Exception as error:
        rule = f"{run.weights} must hold the weights of {run.config.model}."
        raise UserError(rule, shorten(str(error))) from error
    for weight in model.weights:
        # Predictions would be NaN, and scores and pages would show them as any others.
        if not np.isfinite(weight.numpy()).all():
            raise UserError(f"{run.weights}: weights must be finite.", f"NaN or infinite values in {weight.path}")
    for layer in model.layers:
        if isinstance(layer, TrainingStandardise) and not int(layer.count.numpy()):
            rule = f"{run.weights} must hold the mean and deviation of the training images."
            raise UserError(rule, f"a layer {layer.name} of 0 images")
    return model
