"""The folder that `evaluate` writes to, and the notes on what is replaced there."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError, printable
from tfrecords.files.purpose import check_writable
from tfrecords.typed_json import parse_object
from trainer.pretrained import find_pretrained, results_folder
from trainer.run.directory import CONFIG, Run, write_json
from trainer.run.stand_in import StandIn, shown, stand_in, stand_in_of


def chosen_output(args: argparse.Namespace, trained: Run) -> StandIn:
    """Returns the folder to write to, checked.

    Args:
      args: Options `output` and `data`.
      trained: Run that is scored.

    Raises:
      UserError: The folder is the package's, a dataset, or that of another run, or cannot be written to.
    """
    output = stand_in(args.output) if args.output else results_folder(trained, args.data)
    output.fetch(MANIFEST, CONFIG)
    folder = output.folder
    if find_pretrained(folder.resolve()) or (folder / MANIFEST).exists():
        raise UserError("--output must not be the folder of the package's weights or of a dataset.", output.place)
    check_writable("--output", output.place)
    if (folder / CONFIG).exists() and _config(folder) != _config(trained.directory):
        raise UserError(f"--output must be a new folder, or have the {CONFIG} of the run.", output.place)
    return stand_in_of(trained.directory) if folder.resolve() == trained.directory.resolve() else output


def _config(directory: Path) -> dict[str, Any] | None:
    """Returns the content of a config.json, or None if it is no JSON object."""
    try:
        return parse_object((directory / CONFIG).read_bytes(), CONFIG)
    except UserError:
        return None


def copy_config(trained: Run, output: StandIn) -> None:
    """Writes the configuration of a run to the folder of its scores, if that is another one: `report` needs it."""
    if output.folder != trained.directory:
        write_json(output.folder / CONFIG, parse_object((trained.directory / CONFIG).read_bytes(), CONFIG))
        output.publish(CONFIG)


def print_replaced(path: Path, facts: dict[str, Any]) -> None:
    """Prints a note if scores of another dataset, snapshot, number of windows or finder are about to be replaced."""
    try:
        content = parse_object(path.read_bytes(), path.name)
        before = str(content["data"]), content["crops"], content.get("snapshot"), content.get("finder")
    except (OSError, UserError, KeyError, TypeError):
        return
    if before != (facts["data"], facts["crops"], facts.get("snapshot"), facts.get("finder")):
        data, crops, snapshot, finder = (printable(str(value)) for value in before)
        of_stream = "" if before[2] is None else f", snapshot {snapshot},"
        how = f"--crops {crops}" if before[3] is None else f"--finder {finder}"
        note = f"note: {shown(path)} had the scores of {data}{of_stream} with {how}; use --output to keep several"
        print(note, file=sys.stderr)
