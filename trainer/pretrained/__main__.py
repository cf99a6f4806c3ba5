"""python -m trainer.pretrained: copies a run's weights into the package, as `make pretrained` does.

With them goes the graph for ONNX Runtime that reads these weights (`trainer.lite.write`).
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfrecords.cli import missing_library
from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.flags import local_path
from tfrecords.typed_json import parse_object
from trainer.lite.runtime import start_keras
from trainer.pretrained import CARD, STREET, every
from trainer.run.directory import CALIBRATION, CONFIG, HISTORY, WEIGHTS, Run, write_json
from trainer.run.evaluations import EvaluationFiles, find_evaluations

_SCORES = re.compile(r"(<!-- scores [^\n]*-->\n).*?(<!-- end of scores -->)", re.DOTALL)
_LOCAL = ("data", "options")
"""Entries of config.json that describe the machine: paths and devices."""
_FOUND = ("recall", "precision", "average_precision")
_MANY = 10_000
"""Examples from which on scores have two decimals."""


def main() -> int:
    """Parses the command line, copies the weights and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.pretrained", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run-dir", type=local_path, help="run directory of an evaluated model")
    source.add_argument(
        "--lite-only", action="store_true", help="write only the graph for ONNX Runtime, of the weights that are there"
    )
    parser.add_argument("--name", choices=list(every()), default=STREET, help="name of the weights (default: street)")
    args = parser.parse_args()
    weights = every()[args.name]
    try:
        if args.lite_only:
            write_graph(weights.directory)
        else:
            publish(args.run_dir, weights.directory, weights.card.read_text(encoding="utf-8"))
    except ModuleNotFoundError as error:
        print(f"error: {missing_library('trainer.pretrained', 'train,export', error)}", file=sys.stderr)
        return 1
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    card = "" if args.lite_only else f" Next: measure the other scores of its {CARD} again, if it has any."
    print(f"The {'graph is' if args.lite_only else 'weights are'} in {weights.directory}.{card}")
    return 0


def publish(run_dir: Path, folder: Path, card: str) -> None:
    """Copies what a reader or finder needs of a run into a folder, with its graph and the model card with scores.

    Args:
      run_dir: Run directory of a trained and evaluated model.
      folder: Folder to write to.
      card: Text of the model card, with a section for the scores.

    Raises:
      UserError: The run is not trained or evaluated, or the card does not have exactly one section for the scores.
      OSError: A file cannot be read or written.
      ModuleNotFoundError: The extra `export` is not installed.
    """
    run = Run.load(run_dir)
    files = next(iter(find_evaluations(run_dir).values()), EvaluationFiles.of_split(run_dir, "test"))
    for path, command in ((run.weights, "train"), (files.scores, "evaluate")):
        if not path.is_file():
            raise UserError(f"{run_dir} must have {path.name}: `python -m trainer {command}` creates it.")
    evaluation = parse_object(files.scores.read_bytes(), str(files.scores))
    try:
        table = scores_table(run, evaluation)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run_dir} must have all scores, and the examples of its dataset.", repr(error)) from error
    filled, sections = _SCORES.subn(lambda found: found[1] + table + found[2], card)
    if sections != 1:
        raise UserError("The model card must have one section for the scores.", sections)
    write_json(folder / CONFIG, portable(run.content))
    # What finds numbers has its threshold in the history.
    names = (CALIBRATION, *((HISTORY,) if run.task == FIND else ()))
    copied = {name: (run_dir / name).read_bytes() for name in names if (run_dir / name).is_file()}
    (folder / CALIBRATION).unlink(missing_ok=True)
    for name, content in {WEIGHTS: run.weights.read_bytes(), CARD: filled.encode(), **copied}.items():
        with atomic_write(folder / name) as stream:
            stream.write(content)
    write_graph(folder)


def write_graph(folder: Path) -> None:
    """Writes the graph for ONNX Runtime of the weights in a folder of the package.

    Raises:
      UserError: The weights are missing, or of another architecture.
      ModuleNotFoundError: The extra `train` or `export` is not installed.
    """
    run = Run.load(folder)
    start_keras(run)
    from trainer.lite.write import write_lite

    write_lite(run)


def portable(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of a config.json without the entries that describe the machine."""
    kept = {name: value for name, value in content.items() if name not in _LOCAL}
    if kept.get("init"):
        kept["init"] = Path(kept["init"]).name
    return kept


def scores_table(run: Run, evaluation: dict[str, Any]) -> str:
    """Returns the model card's table of scores.

    Args:
      run: Run that was evaluated.
      evaluation: Content of its evaluation.json.
    """
    count = evaluation["num_pictures" if run.task == FIND else "num_examples"]
    # A tenth of a percent of 10,000 examples is ten of them.
    decimals = 2 if count >= _MANY else 1

    def percent(share: float) -> str:
        return f"{100 * share:.{decimals}f} %"

    examples = run.content["dataset"]["examples"]
    rows = [
        ("architecture", f"`{run.config.model}`"),
        ("weights", f"{run.content['parameters']:,}, float32"),
        ("training examples", f"{examples['train']:,}"),
        (f"evaluated examples (split {evaluation['split']})", f"{count:,}"),
    ]
    if run.task == FIND:
        rows += [(name.replace("_", " "), percent(evaluation[name])) for name in _FOUND]
        rows.append(("threshold, of the best F1 on validation", f"{evaluation['threshold']:.2f}"))
    else:
        low, high = map(percent, evaluation["whole_number_accuracy_interval"])
        whole = f"{percent(evaluation['whole_number_accuracy'])} (95 % interval {low} to {high})"
        rows += [("whole-number accuracy", whole), *_parts(run, evaluation, percent)]
        rows.append(("coverage at 98 % accuracy", percent(evaluation["coverage_at_98"])))
    rows = [("measure", "value"), ("---", "---"), *rows]
    return "".join(f"| {name} | {value} |\n" for name, value in rows)


def _parts(run: Run, evaluation: dict[str, Any], percent: Callable[[float], str]) -> list[tuple[str, str]]:
    """Returns the rows of digits and lengths: none for single characters, of which each is the whole number."""
    names = ("digit_accuracy", "length_accuracy") if run.reads_length else ()
    return [(name.replace("_", " "), percent(evaluation[name])) for name in names]


if __name__ == "__main__":
    sys.exit(main())
