"""The weights that come with the package: run directories that are never written to, each with its model card."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from tfrecords.dataset.manifest import READ
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.run.directory import CONFIG, WEIGHTS, Run
from trainer.run.stand_in import StandIn, place_beside, stand_in, stand_in_of

NAME = "pretrained"
CARD = "README.md"
DIRECTORY = Path(__file__).parent
STREET = "street"
"""Weights that are used where none are named."""


@dataclass(frozen=True)
class Pretrained:
    """Weights that come with the package.

    Attributes:
      name: Name in place of a run directory: for `--init` and `streetdigits.load`.
      directory: Run directory of the weights.
      reads: What the model reads, for `--help`.
      data: Pictures that it was trained on, for messages.
    """

    name: str
    directory: Path
    reads: str
    data: str

    @property
    def card(self) -> Path:
        """File of the model card."""
        return self.directory / CARD


TABLE = {
    STREET: Pretrained(NAME, DIRECTORY, "printed house numbers", "synthetic pictures only"),
    "display": Pretrained(
        f"{NAME}-display", DIRECTORY / "display", "seven-segment displays and meters", "synthetic pictures only"
    ),
    "mnist": Pretrained(f"{NAME}-mnist", DIRECTORY / "mnist", "one handwritten digit", "MNIST's handwritten digits"),
}
"""Weights by the name that `--weights` takes."""


FINDER = Pretrained(f"{NAME}-finder", DIRECTORY / "finder", "the places of house numbers", "synthetic pictures only")
"""Weights that find numbers, for those that read them."""


def every() -> dict[str, Pretrained]:
    """Returns the weights of models of any task by name, whether they are there or not."""
    return {**TABLE, "finder": FINDER}


def offered() -> dict[str, Pretrained]:
    """Returns the readers' weights that are there, by name: a checkout has none that were not published yet."""
    return {name: one for name, one in TABLE.items() if _is_there(one)}


def offered_finder() -> Pretrained | None:
    """Returns the weights that find numbers; None in a checkout without."""
    return FINDER if _is_there(FINDER) else None


def _is_there(weights: Pretrained) -> bool:
    return (weights.directory / WEIGHTS).is_file()


def find_pretrained(path: Path) -> Pretrained | None:
    """Returns the weights of the package that a name or a directory means; None if it means none."""
    return next(
        (one for one in every().values() if path == Path(one.name) or path.resolve() == one.directory.resolve()), None
    )


def results_folder(run: Run, data: Place) -> StandIn:
    """Returns the folder for what is computed of a run: its own, or one next to a dataset for weights of the package.

    Args:
      run: Run.
      data: Dataset directory.
    """
    own = find_pretrained(run.directory.resolve())
    return stand_in(place_beside(data, f"-{own.name}")) if own else stand_in_of(run.directory)


def run_directory(name: str) -> Path:
    """Returns the run directory for a name: a place, or `pretrained` or `pretrained-mnist` for the package's own.

    For an address that is a local folder in its place, with the run's configuration (`trainer.run.stand_in`).

    Raises:
      UserError: The name is empty, an address with a slash too few, or one without a run.
    """
    if own := next((one.directory for one in every().values() if name == one.name and _is_there(one)), None):
        return own
    found = stand_in(Place(name))
    found.fetch(CONFIG)
    if found.place.is_remote and not (found.folder / CONFIG).is_file():
        rule = f"{found.place} is not a run directory: it has no {CONFIG}. `python -m trainer train` makes one."
        raise UserError(rule)
    return found.folder


def add_run_arguments(parser: argparse.ArgumentParser, required: bool = False) -> argparse._MutuallyExclusiveGroup:
    """Adds the options `--run-dir` and `--weights`, which exclude each other, and returns their group.

    Args:
      parser: Parser of a command.
      required: Whether one of them must be given; otherwise the default is the weights for house numbers.
    """
    group = parser.add_mutually_exclusive_group(required=required)
    default = "" if required else " (default: the pretrained weights of the package)"
    group.add_argument("--run-dir", metavar="DIR", help=f"run directory of the model, or its address{default}")
    names = "; ".join(f"{name}: {one.reads}" for name, one in offered().items())
    what = f"weights that come with the package: {names}"
    group.add_argument("--weights", choices=list(offered()), metavar="NAME", help=what)
    return group


def chosen_name(run_dir: str | None, weights: str | None) -> str:
    """Returns the run directory, or the name in place of it, that the options of `add_run_arguments` mean."""
    return run_dir or TABLE[weights or STREET].name


def chosen_run(run_dir: str | None, weights: str | None = None, task: str | None = READ) -> Run:
    """Returns the run of the options of `add_run_arguments`; without any, a line on standard error names the default.

    Args:
      run_dir: Run directory, a name in place of it, or None.
      weights: Key of `TABLE`, or None.
      task: What the model must do, one of `tfrecords.dataset.manifest.TASKS`; None for any.

    Raises:
      UserError: The directory is not a run directory, or the model does something else.
    """
    if run_dir is None and weights is None:
        street = TABLE[STREET]
        source = f"the weights of the package, trained on {street.data} (see {street.card})"
        print(f"Using {source}; use --run-dir for a model of your own.", file=sys.stderr)
    run = Run.load(run_directory(chosen_name(run_dir, weights)))
    if task not in (None, run.task):
        raise UserError(f"{run.directory} must be the run of a model that can {task} numbers.", run.config.model)
    return run
