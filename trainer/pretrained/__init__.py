"""The pretrained weights of the package: a run directory that is never written to. README.md is their model card."""

import sys
from pathlib import Path

from tfrecords.flags import refuse_address
from trainer.run.directory import Run

NAME = "pretrained"
DIRECTORY = Path(__file__).parent
CARD = DIRECTORY / "README.md"


def run_directory(name: str) -> Path:
    """Returns the run directory for a name: a path, or `pretrained` for the package's own.

    Raises:
      UserError: The name is an address, or empty.
    """
    refuse_address(name)
    return DIRECTORY if name == NAME else Path(name)


def chosen_run(name: str | None) -> Run:
    """Returns the run for a name; for None the package's own, with a line on standard error that says so.

    Args:
      name: Run directory, `pretrained` or None.

    Raises:
      UserError: The directory is not a run directory.
    """
    if name is None:
        source = f"the weights of the package, trained on synthetic pictures only (see {CARD})"
        print(f"Using {source}; use --run-dir for a model of your own.", file=sys.stderr)
    return Run.load(run_directory(NAME if name is None else name))
