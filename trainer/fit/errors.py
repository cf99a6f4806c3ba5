"""TensorFlow's errors during training, in words that help."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf

from tfrecords.errors import UserError
from trainer.fit.step import StepTotals
from trainer.input.dataset import Batch

_KEYS_NAMED = 5
_PYTHON_ERROR = re.compile(r"^[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)
_WHERE_IN_TENSORFLOW = re.compile(r"^.* transformation with iterator: \S+: ")
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


class HostLostError(Exception):
    """Another host no longer answers."""


def readable(batches: Iterable[Batch], directory: Path, split: str) -> Iterator[Batch]:
    """Yields a split's batches.

    Raises:
      UserError: they cannot be read.
    """
    try:
        yield from batches
    except tf.errors.OpError as error:
        # Those of Python functions come with a trace, at whose end they stand.
        *_, fault = _PYTHON_ERROR.findall(str(error)) or [_WHERE_IN_TENSORFLOW.sub("", str(error).splitlines()[0])]
        rule = f"The split {split} cannot be read: `python -m tfrecords validate {directory}` names every fault."
        raise UserError(rule, fault) from error


@contextlib.contextmanager
def host_errors(hosts: int) -> Iterator[None]:
    """Turns TensorFlow's errors of a host that is gone into a `HostLostError`."""
    try:
        yield
    except _LOST as error:
        if hosts == 1:
            raise
        raise HostLostError(
            f"one of the {hosts} hosts no longer answers; start the same command on all of them, "
            "and the run goes on from its last checkpoint."
        ) from error


def not_finite(step: int, directory: Path, keys: Sequence[str], totals: StepTotals) -> UserError:
    """Returns the error of a step whose loss or gradients are not finite.

    Args:
      step: of the whole run, from 1.
      directory: of the run.
      keys: of the step's examples.
      totals: of the step.
    """
    more = f" and {len(keys) - _KEYS_NAMED} more" if len(keys) > _KEYS_NAMED else ""
    return UserError(
        f"Step {step} gave a loss or gradients that are not finite: no weight was changed by it, and {directory} holds "
        "the last good ones. A lower --learning-rate helps, if the pictures are not at fault: "
        f"{', '.join(keys[:_KEYS_NAMED])}{more}.",
        f"loss {totals.loss / totals.examples}",
    )
