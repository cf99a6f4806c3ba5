"""python -m trainer audit: the mistakes of a dataset, ranked, as a page and a table."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tfrecords.dataset.manifest import FIND, UNKNOWN_SPLIT
from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.files.purpose import check_writable
from tfrecords.flags import add_snapshot, local_path
from tfrecords.interrupts import ending_at_once
from tfrecords.pages.page import check_output, write_page
from trainer.input.records import Records
from trainer.pretrained import NAME, run_directory
from trainer.run.cache_folder import add_cache_arguments, chosen_cache
from trainer.run.cut import ALLOW, check_cut, dataset_cut, run_cut
from trainer.run.directory import Run, labels_text
from trainer.run.stand_in import naming_addresses, output_file

if TYPE_CHECKING:
    from trainer.audit.pictures import AuditReader, Pictures
    from trainer.audit.second_opinion import SecondOpinion
    from trainer.audit.suspects import Suspect

EPILOG = """\
examples:
  with the weights that come with the package as the reader:
    python -m trainer audit --data records --output audit.html
  with two readers that were trained on other pictures, and a draft of fixes:
    python -m trainer audit --data records --run-dir pretrained runs/other \\
      --output audit.html --write-fixes fixes.csv
  with RapidOCR as a second opinion (pip install 'streetdigits[ocr]'):
    python -m trainer audit --data records --second-opinion rapidocr \\
      --output audit.html
  with readers that are trained on the dataset, each without what it judges:
    python -m trainer audit --data records --folds 5 --output audit.html \\
      --folds-train '--epochs 20 --init pretrained'

Writes the page, and next to it every suspicion to audit.suspects.parquet: key,
kind, score, given, suggested, evidence. Nothing in the dataset is changed.
`python -m beam_jobs prepare --fix fixes.csv` applies the fixes once reviewed.
"""
SECOND_OPINIONS = ("rapidocr",)
SUSPECTS_SUFFIX = ".suspects.parquet"
_MOST = 10_000
_MOST_FOLDS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audit`."""
    parser.add_argument("--data", type=place, required=True, help="dataset directory of crops, or its address")
    add_snapshot(parser)
    names = f"run directories or addresses of the readers, or names as {NAME} (default: {NAME})"
    parser.add_argument("--run-dir", nargs="+", metavar="RUN", help=names)
    text = "number of folds: trains a reader without each of them, which then reads it (default: no training)"
    parser.add_argument("--folds", type=int, metavar="N", help=text)
    text = "folder for the runs of --folds, which resume; complete ones are kept (default: next to --output)"
    parser.add_argument("--folds-dir", type=local_path, metavar="DIR", help=text)
    text = "options of `trainer train` for --folds in one argument, as '--epochs 20 --init pretrained'"
    parser.add_argument("--folds-train", default="", metavar="OPTIONS", help=text)
    text = "another package's reader to ask too, which the extra ocr installs; about 13 ms per picture (default: none)"
    parser.add_argument("--second-opinion", choices=SECOND_OPINIONS, help=text)
    parser.add_argument("--output", type=place, required=True, help="HTML file to write")
    parser.add_argument("--write-fixes", type=place, metavar="FILE", help="CSV file to write with suggested fixes")
    parser.add_argument("--most", type=int, default=48, help="number of suspicions per group that the page shows")
    parser.add_argument(
        ALLOW, action="store_true", help="read images cut with another growth or crop size than the runs'"
    )
    add_cache_arguments(parser)


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Looks at every picture, writes the page and the suspicions, and prints a summary.

    Raises:
      UserError: An option, a run or the dataset cannot be used.
      OSError: A file cannot be read or written.
    """
    _check_options(args)
    from trainer.audit.page import COMMAND, Audit, render

    output = output_file(args.output)
    check_output(output.path, COMMAND)
    records = Records.open(args.data, chosen_cache(args), args.snapshot)
    runs = _runs(args, records)
    other = _second_opinion(args.second_opinion)
    folds = _train_folds(args, records, output.path) if args.folds else []
    with ending_at_once():
        readers = _load(runs, folds)
    pictures, suspects, opinion, of_boxes = _audit(records, readers, other)
    table = output_file(output.place.parent / (output.path.stem + SUSPECTS_SUFFIX))
    notes = [*_notes(records, pictures), *of_boxes]
    facts = {name: _fact(one, records) for name, one in runs.items()}
    if folds:
        facts["folds"] = f"{len(folds)} readers, each of which reads the pictures of train that it was not trained on"
    facts |= opinion
    audit = Audit(str(args.data), pictures, suspects, facts, notes, table.place.name)
    page = render(audit, records, args.most)
    from trainer.audit.suspects import write_suspects

    write_suspects(table.path, suspects)
    write_page(output.path, page)
    table.publish()
    output.publish()
    for line in (*notes, *(f"{name}: {fact}" for name, fact in facts.items())):
        print(f"note: {line}", file=sys.stderr)
    if args.write_fixes:
        _write_fixes(args, suspects)
    _print_summary(suspects, len(pictures))
    print(f"Audit of {len(pictures):,} pictures: {output.place}, {table.place}")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Raises a UserError for options that cannot be used."""
    if not 1 <= args.most <= _MOST:
        raise UserError(f"--most must be 1..{_MOST}.", args.most)
    if args.folds is not None and not 2 <= args.folds <= _MOST_FOLDS:
        raise UserError(f"--folds must be 2..{_MOST_FOLDS}.", args.folds)
    if args.folds is None and (args.folds_dir or args.folds_train):
        raise UserError("--folds-dir and --folds-train must go with --folds.", args.folds_dir or args.folds_train)
    if args.write_fixes:
        check_writable("--write-fixes", args.write_fixes.parent)
        if args.write_fixes.exists():
            raise UserError("--write-fixes must be a new file: a reviewed one is not replaced.", args.write_fixes)


def _runs(args: argparse.Namespace, records: Records) -> dict[str, Run]:
    """Returns the runs of the readers by name, checked.

    Raises:
      UserError: A run is named twice, or cannot read the numbers of the dataset.
    """
    if records.manifest.task == FIND:
        raise UserError(f"{args.data} must hold images that are cut out around numbers.", f"the task {FIND}")
    names = args.run_dir or ([] if args.folds else [NAME])
    if len({*names, args.second_opinion}) <= len(names):
        raise UserError("Each --run-dir must be another reader: one that counts twice is no second opinion.", names)
    stored = records.manifest.labels
    runs = {}
    for name in names:
        found = runs[name] = Run.load(run_directory(name))
        if found.task == FIND:
            raise UserError(f"{name} must be the run of a model that reads numbers.", found.config.model)
        rule = f"{args.data} must be cut as the images that {name} was trained on"
        check_cut(dataset_cut(records.manifest), run_cut(found), rule, args.allow_other_crop)
        if stored.max_length > found.labels.max_length or found.labels.unknown(stored.alphabet):
            rule = f"{name} was trained on {labels_text(found.labels)}, and must read those of the dataset."
            raise UserError(rule, labels_text(stored))
    return runs


def _train_folds(args: argparse.Namespace, records: Records, page: Path) -> list[Run]:
    """Trains the readers of the folds and returns their runs.

    Raises:
      UserError: A fold has no pictures, or a training fails.
    """
    from trainer.audit.folds import train_folds

    folder = args.folds_dir or page.with_name(f"{page.stem}.folds")
    return [Run.load(run) for run in train_folds(records, args.folds, folder, shlex.split(args.folds_train))]


def _load(runs: dict[str, Run], folds: list[Run]) -> list[AuditReader]:
    """Returns the readers of runs, and those of folds as one."""
    from trainer.audit.folds import FoldReader
    from trainer.audit.pictures import NamedReader
    from trainer.lite.runtime import AUTO
    from trainer.reader import Reader

    found: list[AuditReader] = [NamedReader(name, Reader(one, AUTO)) for name, one in runs.items()]
    return [*found, FoldReader([Reader(one) for one in folds])] if folds else found


def _second_opinion(name: str | None) -> SecondOpinion | None:
    """Returns the reader of another package, or None.

    Raises:
      UserError: It is not installed.
    """
    if name is None:
        return None
    from trainer.audit.second_opinion import load_second_opinion

    return load_second_opinion(name)


def _audit(
    records: Records, readers: list[AuditReader], other: SecondOpinion | None
) -> tuple[Pictures, list[Suspect], dict[str, str], list[str]]:
    """Returns the pictures of a dataset, all suspicions about them, ranked, facts about `other`, and notes."""
    from trainer.audit.boxes import box_suspects, order_suspects
    from trainer.audit.copies import copy_suspects
    from trainer.audit.duplicates import duplicates
    from trainer.audit.labels import label_suspects
    from trainer.audit.outliers import outlier_suspects
    from trainer.audit.pictures import look
    from trainer.audit.second_opinion import ask, opinion_fact
    from trainer.audit.suspects import rank

    pictures, answers = look(records, readers)
    labels, opinion = label_suspects(pictures.keys, pictures.texts, answers), {}
    if other:
        asked, alone = ask(other, records, pictures), labels
        labels = label_suspects(pictures.keys, pictures.texts, [*answers, asked])
        opinion = {other.name: opinion_fact(asked, pictures.texts, alone, labels)}
    boxes, notes = box_suspects(records, pictures, labels, readers)
    found = [
        *labels,
        *boxes,
        *order_suspects(pictures),
        *copy_suspects(pictures, duplicates(pictures.small)),
        *outlier_suspects(pictures),
    ]
    return pictures, rank(found), opinion, notes


def _fact(trained: Run, records: Records) -> str:
    """Returns what is to be known of a reader: whether it has seen the dataset's labels."""
    if trained.content.get("dataset", {}).get("manifest_sha256") == records.manifest_sha256:
        return (
            "was trained on this very dataset (its config.json names the digest of this manifest): it has learnt wrong "
            "labels of train too, so what it says there is no independent answer"
        )
    return "was trained on another dataset, so its answers are independent of these labels, unless that holds them too"


def _notes(records: Records, pictures: Pictures) -> list[str]:
    """Returns sentences about what was left out, or weakens the result."""
    notes = []
    if UNKNOWN_SPLIT in records.manifest.splits:
        notes.append(f"the split {UNKNOWN_SPLIT} was left out: its numbers are not known")
    if pictures.background:
        notes.append(f"{pictures.background:,} crops without a number were left out")
    if rejected := sum(records.manifest.dead_letters.values()):
        notes.append(f"{rejected:,} rejected pictures of dead_letters.jsonl are not in the dataset, and were left out")
    if int(pictures.views.max()) > 1:
        notes.append(
            "of a picture with several jitters the first one is compared, so some near duplicates are missed: "
            "`prepare --jitters 0` makes a dataset whose pictures are cut alike"
        )
    return notes


def _write_fixes(args: argparse.Namespace, suspects: list[Suspect]) -> None:
    """Writes the draft of fixes.csv, and prints what is in it."""
    from trainer.audit.fix_draft import DROP, draft_fixes, fixes_csv

    rows = draft_fixes(suspects)
    args.write_fixes.write([fixes_csv(rows)])
    dropped = sum(action == DROP for _, action, _, _ in rows)
    print(
        f"Draft of {len(rows):,} fixes to review, {len(rows) - dropped:,} labels and {dropped:,} pictures to drop: "
        f"{args.write_fixes}"
    )


def _print_summary(suspects: list[Suspect], pictures: int) -> None:
    """Prints the number of suspicions of each kind."""
    from trainer.audit.suspects import KINDS

    for kind in KINDS:
        if found := [one for one in suspects if one.kind == kind]:
            print(f"{kind:<20}{len(found):>8,}  {len(found) / pictures:>7.2%}  strongest {found[0].key}")
