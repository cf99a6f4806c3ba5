"""A model's weights to a file, whole or not at all, and back."""

from pathlib import Path

import keras

from tfrecords.errors import UserError
from trainer.models import build_model
from trainer.pretrained import run_directory
from trainer.run.directory import WEIGHTS, Run


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights to `path`, which must end in `.weights.h5`."""
    # Keras insists on the ending, which a temporary name in the same folder can have too.
    temporary = path.with_name(f".partial.{path.name}")
    model.save_weights(temporary)
    temporary.replace(path)


def start_from(model: keras.Model, source: str) -> None:
    """Gives `model` the best weights of another run, of the same architecture.

    Args:
      model: to be given them.
      source: run directory, or `pretrained`.

    Raises:
      UserError: not a run, without weights, or of another architecture or picture size.
    """
    run = Run.load(run_directory(source))
    if run.config.model != model.name or run.image_shape != model.input_shape[1:]:
        received = f"{run.config.model} for pictures of {run.image_shape}"
        raise UserError(f"{source} must be a run of {model.name} for pictures of {model.input_shape[1:]}.", received)
    model.set_weights(load_model(run).get_weights())


def load_model(run: Run) -> keras.Model:
    """Returns the run's model with its best weights.

    Raises:
      UserError: the run has no weights, or they are another architecture's.
    """
    if not run.weights.is_file():
        raise UserError(f"{run.directory} has no {WEIGHTS}: training was stopped before its first epoch ended.")
    model = build_model(run.config.model, run.image_shape)
    try:
        model.load_weights(run.weights)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{run.weights} must hold the weights of {run.config.model}.", error) from error
    return model
