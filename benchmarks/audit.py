"""Measures what `trainer audit` finds of mistakes that were planted: wrong labels, near duplicates, leaks.

    python -m benchmarks.audit --source svhn --input svhn/photos --run-dir pretrained
    python -m benchmarks.audit --source mnist --input mnist --subset test --run-dir pretrained-mnist

A copy of the pictures is written with a table of their labels, of which 2 % are replaced: a digit by a similar one, a
digit left out, two digits swapped; single digits by similar ones only. 50 pictures are there again, changed slightly,
and 20 again in the other split, half of them byte for byte. `prepare` makes a dataset of it, `audit` looks at it.
Mistakes that were there before count against the precision; --known names some, whose ranks are printed.
"""

import argparse
import csv
import io
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common.table import markdown, verdict
from tfrecords.digests import stable_digest
from tfrecords.errors import UserError
from tfrecords.files.place import Place

WRONG_SHARE, NEAR, LEAKS = 0.02, 50, 20
_TEST_SHARE = 0.1
_SIMILAR = {"0": "86", "1": "7", "2": "7", "3": "8", "4": "9", "5": "6", "6": "58", "7": "1", "8": "36", "9": "4"}
"""Digits that are taken for each other."""
_SHOWN = 50
_LEAST_PRECISION, _LEAST_RECALL = 0.8, 0.9
_HEAD = ("planted", "count", f"precision at {_SHOWN}", "recall at twice the count", "listed")
_OF_MNIST = ("--channels", "1", "--growth", "0", "--crop-size", "28", "--record-size", "28")


@dataclass(frozen=True)
class Row:
    """A row of the table of labels.

    Attributes:
      name: Name of the picture's file.
      text: Label.
      split: Split: train or test.
      box: Left, top, width and height of the number, pixels; empty for the complete picture.
    """

    name: str
    text: str
    split: str
    box: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """Key of the annotation in the dataset."""
        return f"{self.split}/{self.name}"


@dataclass(frozen=True)
class Planted:
    """What was planted.

    Attributes:
      wrong: Keys of the wrong labels.
      near: Pairs of keys of near duplicates in one split.
      leaks: Pairs of keys of copies in two splits.
    """

    wrong: set[str]
    near: set[frozenset[str]]
    leaks: set[frozenset[str]]


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="svhn", help="format of the pictures, as of prepare (default: svhn)")
    parser.add_argument("--input", required=True, help="folder of labelled pictures")
    parser.add_argument("--subset", help="subset to take (default: the first one)")
    parser.add_argument("--run-dir", nargs="+", default=["pretrained"], help="readers, as of audit")
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
    planted = plant(args, folder / "input")
    prepare = ["--source", "table", "--input", str(folder / "input"), "--output", str(folder / "records")]
    options = _OF_MNIST if args.source == "mnist" else ()
    # In this process: OpenCV has started threads in it, which processes that are forked from it would wait for.
    options = (*options, "--workers", "1", "--jitters", "0", "--validation-fraction", "0")
    _run("beam_jobs", ["prepare", *prepare, *options])
    page = folder / "audit.html"
    _run("trainer", ["audit", "--data", str(folder / "records"), "--run-dir", *args.run_dir, "--output", str(page)])
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


def plant(args: argparse.Namespace, folder: Path) -> Planted:
    """Writes a folder of pictures with a table of labels, some of them wrong, and returns what is wrong.

    Raises:
      UserError: The input cannot be read, or has too few pictures.
    """
    (folder / "pictures").mkdir(parents=True)
    rows, pictures = _read(args)
    if len(rows) < 10 * (NEAR + LEAKS):
        raise UserError(f"The input must have at least {10 * (NEAR + LEAKS)} pictures.", len(rows))
    for row, picture in zip(rows, pictures, strict=True):
        cv2.imwrite(str(folder / row.name), picture)
    draw = random.Random(args.seed)
    order = draw.sample(range(len(rows)), len(rows))
    count = round(WRONG_SHARE * len(rows))
    for number, index in enumerate(order[:count]):
        rows[index] = replace(rows[index], text=wrong_text(rows[index].text, number, draw))
    wrong = {rows[index].key for index in order[:count]}
    pairs: list[frozenset[str]] = []
    for number, index in enumerate(order[count : count + NEAR + LEAKS]):
        original, is_leak = rows[index], number >= NEAR
        split = {"train": "test", "test": "train"}[original.split] if is_leak else original.split
        copy, picture = replace(original, name=f"pictures/copy-{number}.png", split=split), pictures[index]
        if not (is_leak and number % 2):
            picture, copy = slightly_changed(picture, copy, number, np.random.default_rng((args.seed, number)))
        cv2.imwrite(str(folder / copy.name), picture)
        rows.append(copy)
        pairs.append(frozenset((original.key, copy.key)))
    (folder / "labels.csv").write_text(_table(rows))
    return Planted(wrong, set(pairs[:NEAR]), set(pairs[NEAR:]))


def _read(args: argparse.Namespace) -> tuple[list[Row], list[NDArray[Any]]]:
    """Returns the numbers of a subset that can be used, and their pictures, BGR or grey.

    Raises:
      UserError: The input cannot be read.
    """
    from beam_jobs.sources import load_source
    from beam_jobs.sources.base import Input, SourceOptions
    from tfrecords.images.crop import union

    source = load_source(args.source)
    subset = source.find_subsets(Input(Place(args.input), (args.subset,) if args.subset else ()), SourceOptions())[0]
    rows, pictures = [], []
    for one in source.read_annotations(subset, 0, subset.entries, "left", SourceOptions()):
        if one.dead or one.part:
            continue
        name = f"{Path(one.name).stem}.png"
        box = union(one.placed) if one.placed else None
        placed = (box.xmin, box.ymin, box.width, box.height) if box else ()
        is_test = stable_digest(f"{args.seed}/split/{name}") / 2**64 < _TEST_SHARE
        rows.append(Row(f"pictures/{name}", one.text, "test" if is_test else "train", placed))
        pictures.append(_decoded(source.read_picture(subset, one.name)))
    return rows, pictures


def _decoded(content: bytes | NDArray[np.uint8]) -> NDArray[Any]:
    if isinstance(content, bytes):
        return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    return content if content.shape[2] == 1 else content[:, :, ::-1]


def _table(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file_name", "text", "left", "top", "width", "height", "split"])
    writer.writerows([row.name, row.text, *(row.box or [""] * 4), row.split] for row in rows)
    return text.getvalue()


def wrong_text(text: str, number: int, draw: random.Random) -> str:
    """Returns a wrong label: in turn with a similar digit, one digit less, or two digits swapped, where possible."""
    swaps = [place for place in range(len(text) - 1) if text[place] != text[place + 1]]
    place = draw.randrange(len(text))
    if number % 3 == 1 and len(text) > 1:
        return text[:place] + text[place + 1 :]
    if number % 3 == 2 and swaps:
        place = draw.choice(swaps)
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + draw.choice(_SIMILAR[text[place]]) + text[place + 1 :]


def slightly_changed(
    picture: NDArray[Any], row: Row, number: int, rng: np.random.Generator
) -> tuple[NDArray[Any], Row]:
    """Returns a picture as it may come again, with its row: in turn fainter, noisier, compressed, softer, moved."""
    height, width = picture.shape[:2]
    way = number % 5
    if way == 0:
        return np.clip(picture * rng.uniform(0.75, 0.95) + 15, 0, 255).astype(np.uint8), row
    if way == 1:
        return np.clip(picture + rng.normal(0, 5, picture.shape), 0, 255).astype(np.uint8), row
    if way == 2:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 90))])
        kind = cv2.IMREAD_GRAYSCALE if picture.shape[2] == 1 else cv2.IMREAD_COLOR
        return np.asarray(cv2.imdecode(data, kind)), row
    if way == 3:
        small = cv2.resize(picture, (max(1, 3 * width // 4), max(1, 3 * height // 4)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height)), row
    if not row.box:
        return cv2.copyMakeBorder(picture, 0, 0, 1, 0, cv2.BORDER_REPLICATE)[:, :width], row
    left, top, *size = row.box
    return picture, replace(row, box=(left + 1, top, *size))


def report(planted: Planted, suspects: Sequence[dict[str, Any]], known: Sequence[str]) -> list[str]:
    """Returns the lines to print: the table, the targets, the ranks of known mistakes, and other first suspicions.

    Args:
      planted: What was planted.
      suspects: Rows of suspects.parquet.
      known: Names of pictures whose labels were wrong before.
    """
    labels = [one for one in suspects if one["kind"].startswith("label")]
    groups = {
        "wrong labels": ([one["key"] in planted.wrong for one in labels], len(planted.wrong)),
        "near duplicates": (_pairs(suspects, "duplicate", planted.near), len(planted.near)),
        "leaks": (_pairs(suspects, "leak", planted.leaks), len(planted.leaks)),
    }
    rows, lines = [], []
    for name, (hits, count) in groups.items():
        # Where fewer were planted than are looked at, no more can be right.
        first = hits[: min(_SHOWN, count)]
        precision, recall = sum(first) / max(1, min(_SHOWN, count)), sum(hits[: 2 * count]) / count
        rows.append((name, str(count), f"{precision:.2f}", f"{recall:.2f}", str(len(hits))))
        met = precision >= _LEAST_PRECISION and recall >= _LEAST_RECALL
        targets = f"precision {precision:.2f} of {_LEAST_PRECISION}, recall {recall:.2f} of {_LEAST_RECALL}"
        lines.append(verdict(met, f"{name}: {targets}"))
    ranks = {Path(one["key"]).name: rank for rank, one in enumerate(labels, 1)}
    lines += [f"{name} has rank {ranks.get(name, 'none')} of {len(labels)}" for name in known]
    others = [one for one in labels[:_SHOWN] if one["key"] not in planted.wrong]
    lines += [f"not planted: {one['key']}, labelled {one['given']}, read as {one['suggested']}" for one in others]
    return [markdown(_HEAD, rows), "", *lines]


def _pairs(suspects: Sequence[dict[str, Any]], kind: str, planted: set[frozenset[str]]) -> list[bool]:
    """Returns whether each suspicion of a kind is of a planted pair, in their order."""
    found = [one for one in suspects if one["kind"].startswith(kind)]
    return [frozenset((one["key"], json.loads(one["evidence"])["copy_of"])) in planted for one in found]


if __name__ == "__main__":
    sys.exit(main())
