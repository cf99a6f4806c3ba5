"""python -m trainer.pretrained: makes a run's weights those that come with the package. `make pretrained` calls it."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from trainer.pretrained import CARD, DIRECTORY
from trainer.run.directory import CONFIG, EVALUATION, WEIGHTS, Run, write_json

_SCORES = re.compile(r"(<!-- scores [^\n]*-->\n).*?(<!-- end of scores -->)", re.DOTALL)
_LOCAL = ("data", "options")
"""What config.json tells of the machine: paths, devices."""


def main() -> int:
    """Parses the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.pretrained", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="of the model, trained and evaluated")
    try:
        publish(parser.parse_args().run_dir, DIRECTORY, CARD.read_text(encoding="utf-8"))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The weights are in {DIRECTORY}. The scores on photos in {CARD.name} are to be measured anew.")
    return 0


def publish(run_dir: Path, folder: Path, card: str) -> None:
    """Copies what predicting needs of a run into `folder`, with the card and the run's scores in it.

    Raises:
      UserError: not a run, not trained or not evaluated, or the card has no place for the scores.
    """
    run = Run.load(run_dir)
    for name, command in ((WEIGHTS, "train"), (EVALUATION, "evaluate")):
        if not (run_dir / name).is_file():
            raise UserError(f"{run_dir} must have {name}: `python -m trainer {command}` makes it.")
    evaluation = json.loads((run_dir / EVALUATION).read_text(encoding="utf-8"))
    written, places = _SCORES.subn(lambda found: found[1] + scores_table(run, evaluation) + found[2], card)
    if places != 1:
        raise UserError("The model card must have one place for scores.", places)
    write_json(folder / CONFIG, portable(run.content))
    for name, content in ((WEIGHTS, run.weights.read_bytes()), (CARD.name, written.encode())):
        with atomic_write(folder / name) as stream:
            stream.write(content)


def portable(content: dict[str, Any]) -> dict[str, Any]:
    """Returns what a config.json holds, less what it tells of the machine."""
    kept = {name: value for name, value in content.items() if name not in _LOCAL}
    if kept.get("init"):
        kept["init"] = Path(kept["init"]).name
    return kept


def scores_table(run: Run, evaluation: dict[str, Any]) -> str:
    """Returns the card's table of what an evaluation.json tells."""

    def share(value: float) -> str:
        return f"{100 * value:.1f} %"

    low, high = map(share, evaluation["whole_number_accuracy_interval"])
    examples = run.content["dataset"]["examples"]
    rows = [
        ("drawn numbers trained on", f"{examples['train']:,}"),
        (f"drawn numbers scored (split {evaluation['split']})", f"{evaluation['num_examples']:,}"),
        ("whole numbers read right", f"{share(evaluation['whole_number_accuracy'])} (95 % interval {low} to {high})"),
        ("digits read right", share(evaluation["digit_accuracy"])),
        ("lengths read right", share(evaluation["length_accuracy"])),
        ("coverage at 98 % accuracy", share(evaluation["coverage_at_98"])),
    ]
    return "".join(f"| {name} | {value} |\n" for name, value in [("measure", "value"), ("---", "---"), *rows])


if __name__ == "__main__":
    sys.exit(main())
