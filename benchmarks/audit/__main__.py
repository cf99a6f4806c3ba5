"""Measures what `trainer audit` finds of mistakes that were planted: wrong labels, near duplicates, leaks; wrong boxes.

    python -m benchmarks.audit --source svhn --input svhn/photos --run-dir pretrained
    python -m benchmarks.audit --source svhn --input svhn/photos --run-dir pretrained --second-opinion rapidocr
    python -m benchmarks.audit --source svhn --input svhn/photos --run-dir pretrained --boxes
    python -m benchmarks.audit --source mnist --input mnist --subset test --run-dir pretrained-mnist

A copy of the pictures is written with a table of their labels, of which 2 % are replaced: a digit by a similar one, a
digit left out, two digits swapped; single digits by similar ones only. 50 pictures are there again, changed slightly,
and 20 again in the other split, half of them byte for byte. With --boxes, 2 % of the boxes are replaced instead: moved
by half a width, narrower by a third, or twice as large. `prepare` makes a dataset of it, `audit` looks at it.
Mistakes that were there before count against the precision; --known names some, whose ranks are printed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.audit.plant import Planted, plant, plant_boxes
from benchmarks.common.table import markdown, verdict
from tfrecords.errors import UserError

_SHOWN = 50
_LEAST_PRECISION, _LEAST_RECALL = 0.8, 0.9
_HEAD = ("planted", "count", f"precision at {_SHOWN}", "recall at twice the count", "listed")
_OF_MNIST = ("--channels", "1", "--growth", "0", "--crop-size", "28", "--record-size", "28")


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="svhn", help="format of the pictures, as of prepare (default: svhn)")
    parser.add_argument("--input", required=True, help="folder of labelled pictures")
    parser.add_argument("--subset", help="subset to take (default: the first one)")
    parser.add_argument("--run-dir", nargs="+", default=["pretrained"], help="readers, as of audit")
    parser.add_argument("--second-opinion", metavar="NAME", help="another package's reader, as of audit")
    parser.add_argument("--boxes", action="store_true", help="plant wrong boxes, and nothing else")
    parser.add_argument("--seed", type=int, default=0, help="random seed of what is planted (default: 0)")
    parser.add_argument(
        "--known", default="", metavar="NAME,...", help="pictures that were wrong before, for their ranks"
    )
    parser.add_argument("--keep", type=Path, help="new folder for input, dataset and page (default: a temporary one)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and targets, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.boxes and args.known:
        parser.error("--known is of wrong labels, and cannot go with --boxes")
    try:
        if args.keep:
            args.keep.mkdir(parents=True)
            lines = measure(args, args.keep)
        else:
            with tempfile.TemporaryDirectory() as folder:
                lines = measure(args, Path(folder))
    except (UserError, FileExistsError) as error:
        parser.error(str(error))
    print(*lines, sep="\n")
    return 0


def measure(args: argparse.Namespace, folder: Path) -> list[str]:
    """Plants mistakes in a copy of the pictures, runs both commands, and returns the lines to print."""
    planted = (plant_boxes if args.boxes else plant)(args, folder / "input")
    prepare = ["--source", "table", "--input", str(folder / "input"), "--output", str(folder / "records")]
    options = _OF_MNIST if args.source == "mnist" else ()
    # In this process: OpenCV has started threads in it, which processes that are forked from it would wait for.
    options = (*options, "--workers", "1", "--jitters", "0", "--validation-fraction", "0")
    _run("beam_jobs", ["prepare", *prepare, *options])
    page = folder / "audit.html"
    readers = ["--run-dir", *args.run_dir]
    if args.second_opinion:
        readers += ["--second-opinion", args.second_opinion]
    _run("trainer", ["audit", "--data", str(folder / "records"), *readers, "--output", str(page)])
    import pyarrow.parquet as pq

    suspects = pq.read_table(folder / "audit.suspects.parquet").to_pylist()
    return report(planted, suspects, args.known.split(",") if args.known else [])


def _run(package: str, argv: list[str]) -> None:
    """Runs a command in this process.

    Raises:
      UserError: It has failed.
    """
    from importlib import import_module

    from tfrecords.cli import main as run

    if code := run(package, "", import_module(f"{package}.__main__").COMMANDS, argv):
        raise UserError(f"{package} {argv[0]} has failed.", f"exit code {code}")


def report(planted: Planted, suspects: Sequence[dict[str, Any]], known: Sequence[str]) -> list[str]:
    """Returns the lines to print: the table, the targets, the ranks of known mistakes, and other first suspicions.

    Args:
      planted: What was planted.
      suspects: Rows of suspects.parquet.
      known: Names of pictures whose labels were wrong before.
    """
    if planted.boxes:
        return _report_boxes(planted, suspects)
    labels = [one for one in suspects if one["kind"].startswith("label")]
    groups = {
        "wrong labels": ([one["key"] in planted.wrong for one in labels], len(planted.wrong)),
        "near duplicates": (_pairs(suspects, "duplicate", planted.near), len(planted.near)),
        "leaks": (_pairs(suspects, "leak", planted.leaks), len(planted.leaks)),
    }
    rows, lines = [], []
    for name, (hits, count) in groups.items():
        precision, recall = _figures(hits, count)
        rows.append((name, str(count), f"{precision:.2f}", f"{recall:.2f}", str(len(hits))))
        met = precision >= _LEAST_PRECISION and recall >= _LEAST_RECALL
        targets = f"precision {precision:.2f} of {_LEAST_PRECISION}, recall {recall:.2f} of {_LEAST_RECALL}"
        lines.append(verdict(met, f"{name}: {targets}"))
    ranks = {Path(one["key"]).name: rank for rank, one in enumerate(labels, 1)}
    lines += [f"{name} has rank {ranks.get(name, 'none')} of {len(labels)}" for name in known]
    others = [one for one in labels[:_SHOWN] if one["key"] not in planted.wrong]
    lines += [f"not planted: {one['key']}, labelled {one['given']}, read as {one['suggested']}" for one in others]
    return [markdown(_HEAD, rows), "", *lines]


def _report_boxes(planted: Planted, suspects: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the table of wrong boxes, all and by the way in which they are wrong, and the first suspicions."""
    boxes = [one for one in suspects if one["kind"] == "box"]
    ranks = {one["key"]: rank for rank, one in enumerate(boxes)}
    count = len(planted.boxes)
    precision, recall = _figures([one["key"] in planted.boxes for one in boxes], count)
    rows = [("wrong boxes", str(count), f"{precision:.2f}", f"{recall:.2f}", str(len(boxes)))]
    for way in dict.fromkeys(planted.boxes.values()):
        keys = [key for key, each in planted.boxes.items() if each == way]
        found = sum(ranks.get(key, len(ranks) + 2 * count) < 2 * count for key in keys)
        listed = sum(key in ranks for key in keys)
        rows.append((f"of these {way}", str(len(keys)), "", f"{found / len(keys):.2f}", str(listed)))
    others = [one for one in boxes[:_SHOWN] if one["key"] not in planted.boxes]
    lines = [f"not planted: {one['key']}, labelled {one['given']}, {one['evidence']}" for one in others]
    return [markdown(_HEAD, rows), "", *lines]


def _figures(hits: Sequence[bool], count: int) -> tuple[float, float]:
    """Returns the precision of the first suspicions, and the recall of twice as many as were planted."""
    # Where fewer were planted than are looked at, no more can be right.
    first = min(_SHOWN, count)
    return sum(hits[:first]) / max(1, first), sum(hits[: 2 * count]) / count


def _pairs(suspects: Sequence[dict[str, Any]], kind: str, planted: set[frozenset[str]]) -> list[bool]:
    """Returns whether each suspicion of a kind is of a planted pair, in their order."""
    found = [one for one in suspects if one["kind"].startswith(kind)]
    return [frozenset((one["key"], json.loads(one["evidence"])["copy_of"])) in planted for one in found]


if __name__ == "__main__":
    sys.exit(main())
