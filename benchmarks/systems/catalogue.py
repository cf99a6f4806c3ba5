"""The systems: their data, architecture, published figure and goal, and the commands that train and score one."""

from dataclasses import dataclass
from pathlib import Path

from tfrecords.errors import UserError


@dataclass(frozen=True)
class Dataset:
    """Records that systems train on.

    Attributes:
      title: Name of the data in tables.
      folder: Name of the pictures' folder in the data folder.
      options: Options of `prepare`, without input and output.
    """

    title: str
    folder: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class System:
    """One row of the table.

    Attributes:
      model: Architecture.
      data: Key of `DATASETS`.
      options: Options of `train` that are not those of the model's recipe.
      published: Accuracy that the author published, as text; empty for our own models.
      goal: Smallest share of right numbers of the split test that the mean of the seeds should reach; None: no goal.
    """

    model: str
    data: str
    options: tuple[str, ...] = ()
    published: str = ""
    goal: float | None = None


# The published networks of single digits used no validation: each keeps the weights of its last epoch.
_ALL = ("--validation-fraction", "0")
DATASETS = {
    "mnist": Dataset("MNIST", "mnist", ("--source", "mnist", *_ALL)),
    "optdigits": Dataset("UCI optdigits", "optdigits", ("--source", "optdigits", *_ALL)),
    "photos": Dataset("SVHN photos", "svhn_photos", ("--source", "svhn", "--test-fraction", "0.1", "--jitters", "0")),
}
"""Datasets by the name of their folder in the output."""

SYSTEMS = {
    # One epoch is too short for Adadelta's small first steps: docs/systems.md has what was tried.
    "mnist_cnn_1": System(
        "mnist_cnn",
        "mnist",
        ("--epochs", "1", "--learning-rate", "2", "--epsilon", "1e-6"),
        "97.23 % after 1 epoch",
        0.975,
    ),
    "mnist_cnn": System("mnist_cnn", "mnist", (), "97.23 % after 1 epoch", 0.99),
    "optdigits_cnn": System("optdigits_cnn", "optdigits", (), "97.7 %", 0.98),
    "mnist_vgg": System("mnist_vgg", "mnist", (), '"98 %, almost 99"', 0.989),
    "barcode": System("barcode", "mnist", (), "98.89 %, at best 99.05 %", 0.99),
    "barcode_residual": System("barcode_residual", "mnist", goal=0.993),
    "digits": System("digits", "mnist", goal=0.996),
    "conv2": System("conv2", "photos", (), "0 % of whole numbers"),
    "compact": System("compact", "photos"),
}
"""Systems by the name of their runs, in the order of the table."""


@dataclass(frozen=True)
class Commands:
    """Words after `python -m` of a system's three commands."""

    prepare: tuple[str, ...]
    train: tuple[str, ...]
    evaluate: tuple[str, ...]


def commands(name: str, data: Path, output: Path, seed: int) -> Commands:
    """Returns the commands of one run of a system.

    Args:
      name: Key of `SYSTEMS`.
      data: Folder with the pictures' folders.
      output: Folder for records and runs.
      seed: Random seed of the training.
    """
    system = SYSTEMS[name]
    pictures = DATASETS[system.data]
    records, run = str(output / system.data), str(run_directory(output, name, seed))
    where = ("--input", str(data / pictures.folder), "--output", records)
    seeded = ("--seed", str(seed)) if seed else ()
    return Commands(
        ("beam_jobs", "prepare", *pictures.options, *where),
        ("trainer", "train", "--data", records, "--run-dir", run, "--model", system.model, *system.options, *seeded),
        ("trainer", "evaluate", "--run-dir", run, "--data", records),
    )


def run_directory(output: Path, name: str, seed: int) -> Path:
    """Returns the directory of a system's run."""
    return output / "runs" / f"{name}-{seed}"


def require_pictures(name: str, data: Path) -> None:
    """Raises a UserError if a system's pictures are missing."""
    folder = data / DATASETS[SYSTEMS[name].data].folder
    if not folder.is_dir():
        raise UserError(f"{name} needs a folder of {DATASETS[SYSTEMS[name].data].title}.", folder)
