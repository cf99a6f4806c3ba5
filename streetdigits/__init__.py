"""Labelled pictures of numbers to TFRecords and trained readers: two functions, and every command.

    import streetdigits

    reader = streetdigits.load()                       # the weights of the package, or a run directory
    print(reader.read("photo.jpg").text)               # also .confidence, .digits and .box
    examples = streetdigits.open("svhn-records", "train")
    print(examples, examples[0].text)

`keras.load_model` reads exported `.keras` files once this module is imported. ONNX Runtime or TensorFlow is imported
by `load` only, NumPy with the first use of a name that needs it: a command answers Ctrl-C before that.
"""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

import trainer.models  # noqa: F401  # registers our layers with Keras, which .keras files name
from beam_jobs.__main__ import COMMANDS as _BEAM_JOBS
from tfrecords.__main__ import COMMANDS as _TFRECORDS
from tfrecords._version import __version__
from tfrecords.cli import Command, main, missing_library
from tfrecords.errors import UserError
from tfrecords.interrupts import keep_exit_code
from trainer.__main__ import COMMANDS as _TRAINER

if TYPE_CHECKING:
    from os import PathLike

    from tfrecords import open
    from trainer.reader import Prediction, Reader

__all__ = ["COMMANDS", "Prediction", "Reader", "UserError", "__version__", "load", "open", "run"]

_HELP = """Labelled pictures of numbers to TFRecords and trained readers: every command of the three packages.

`streetdigits COMMAND` takes the flags of `python -m beam_jobs|tfrecords|trainer COMMAND`.
`export` is the trainer's and writes a model; the dataset's, which
`python -m tfrecords` calls `export` too, is `export-records` here.
"""
_HOMES = {"Prediction": "trainer.reader", "Reader": "trainer.reader", "open": "tfrecords"}
"""Modules of the names that are imported with their first use."""
_RENAMED = {"tfrecords.commands.export": "export-records"}
"""Names of the commands whose own name is taken, by module: people export models more often than datasets."""


def load(
    run_or_name: "str | PathLike[str]" = "pretrained",
    finder: "str | PathLike[str] | None" = "auto",
    runtime: str = "auto",
) -> "Reader":
    """Returns a trained model, whose `read` returns the number in a picture with its confidence and digits.

    With a finder, `read` returns the surest number anywhere in the picture, with its box, and `read_all` all numbers.
    Without one, or with `read(picture, box=...)`, the picture or its box must be the number and little else.

    Args:
      run_or_name: Run directory that `trainer train` wrote, or weights of the package: `pretrained` reads printed house
        numbers, `pretrained-mnist` one handwritten digit.
      finder: Run directory of a model that finds numbers, or `pretrained-finder`. By default, `pretrained` has that of
        the package, and other readers have none; None for none.
      runtime: What computes predictions: `tensorflow`; `lite`, ONNX Runtime, for weights of the package; or `auto`,
        which is `lite` where that is installed.

    Raises:
      UserError: There is no such run, it has no weights, or the runtime is not installed.
    """
    from trainer.finding_reader import load as load_reader

    try:
        return load_reader(run_or_name, finder, runtime)
    except ModuleNotFoundError as error:
        raise missing_library("streetdigits.load", "lite", error) from error


def _in_one_list(command: Command) -> Command:
    return dataclasses.replace(command, name=_RENAMED.get(command.module, command.name))


COMMANDS = tuple(_in_one_list(command) for command in (*_BEAM_JOBS, *_TFRECORDS, *_TRAINER))
"""Commands in the order of the data's way. Their modules are imported when they are called."""


def run() -> int:
    """Runs the command of the process's arguments, the last thing that the process does; returns its exit code."""
    return keep_exit_code(lambda: main("streetdigits", _HELP, COMMANDS))


def __getattr__(name: str) -> Any:
    """Returns a name of `_HOMES`, and imports its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Returns the public names, imported or not."""
    return sorted({*globals(), *__all__})
