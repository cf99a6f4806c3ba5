"""The weights that come with the package: a run directory, never written to. Its README.md tells what they are."""

import sys
from pathlib import Path

from trainer.run.directory import Run

NAME = "pretrained"
DIRECTORY = Path(__file__).parent
CARD = DIRECTORY / "README.md"


def run_directory(name: str) -> Path:
    """Returns the directory of the run that a user names: a path, or `pretrained` for the package's own."""
    return DIRECTORY if name == NAME else Path(name)


def chosen_run(name: str | None) -> Run:
    """Returns the run that a user names, or for None the package's own, of which standard error tells.

    Raises:
      UserError: the directory is not a run's.
    """
    if name is None:
        told = f"Using the weights that come with streetdigits (drawn numbers only; see {CARD})"
        print(f"{told}: --run-dir takes your own.", file=sys.stderr)
    return Run.load(run_directory(name or NAME))
