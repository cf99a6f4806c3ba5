"""Errors of TensorFlow during training, translated for users."""

import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.fit.step import StepTotals
from trainer.input.cached import leave_all
from trainer.input.dataset import Batch

_KEYS_NAMED = 5
_PYTHON_ERROR = re.compile(r"^[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)
_WHERE_IN_TENSORFLOW = re.compile(r"^.* transformation with iterator: \S+: ")
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


class HostLostError(Exception):
    """Another host no longer answers."""


def readable(
    batches: Iterable[Batch], directory: Place | Path, split: str, reads_length: bool = True
) -> Iterator[Batch]:
    """Yields the batches of a split.

    Args:
      batches: Batches of the split.
      directory: Dataset directory, for the error.
      split: Name of the split, for the error.
      reads_length: Whether the model has an output for the length; without one, each example must be one character.

    Raises:
      UserError: A batch cannot be read, or is too large; or an example is not one character and must be.
    """
    try:
        for batch in batches:
            if not reads_length:
                _check_single_characters(batch, directory, split)
            yield batch
    except tf.errors.ResourceExhaustedError as error:
        rule = "There must be memory for a batch: give a smaller --global-batch-size, or --batch-size of evaluate."
        raise UserError(rule, _WHERE_IN_TENSORFLOW.sub("", error.message.splitlines()[0])) from error
    except tf.errors.OpError as error:
        # An error in a Python function ends a traceback.
        *_, cause = _PYTHON_ERROR.findall(str(error)) or [_WHERE_IN_TENSORFLOW.sub("", str(error).splitlines()[0])]
        check = f"python -m tfrecords validate {shlex.quote(str(directory))}"
        rule = f"The split {split} cannot be read: `{check}` lists all errors."
        leave_all()
        raise UserError(rule, cause) from error
    except BaseException:
        leave_all()
        raise


def _check_single_characters(batch: Batch, directory: Place | Path, split: str) -> None:
    """Raises a UserError if an example of a batch is not one character."""
    lengths = batch["length"].numpy()
    if (lengths != 1).any():
        first = int((lengths != 1).argmax())
        key = batch["key"].numpy()[first].decode()
        rule = f"{directory}, split {split}: each number must be one character, because the model reads no length."
        raise UserError(rule, f"{lengths[first]} characters in {key}")


@contextlib.contextmanager
def host_errors(hosts: int) -> Iterator[None]:
    """Turns TensorFlow's errors about a lost host within the block into a `HostLostError`.

    Args:
      hosts: Number of hosts; with one, the errors are not changed.

    Raises:
      HostLostError: Another host no longer answers.
    """
    try:
        yield
    except _LOST as error:
        if hosts == 1:
            raise
        raise HostLostError(
            f"one of the {hosts} hosts no longer answers; start the same command on all of them "
            "to resume from the last checkpoint."
        ) from error


def not_finite_error(step: int, directory: Path, keys: Sequence[str], totals: StepTotals) -> UserError:
    """Returns the error of a step whose loss or gradients are not finite.

    Args:
      step: Step, counted over the run from 1.
      directory: Run directory.
      keys: Keys of the step's examples.
      totals: Totals of the step.
    """
    more = f" and {len(keys) - _KEYS_NAMED} more" if len(keys) > _KEYS_NAMED else ""
    return UserError(
        f"Step {step} gave a loss or gradients that are not finite: it changed no weight, and {directory} has the last "
        "good ones. Use a lower --learning-rate, or check the examples of the step: "
        f"{', '.join(keys[:_KEYS_NAMED])}{more}.",
        f"loss {totals.loss / totals.examples}",
    )
