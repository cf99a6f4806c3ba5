"""python -m trainer report: one self-contained page of a run."""

import argparse
import sys

from tfrecords.errors import UserError
from tfrecords.files.place import place
from tfrecords.flags import add_snapshot
from trainer.pretrained import add_run_arguments, chosen_name, find_pretrained, run_directory
from trainer.run.directory import REPORT, WITHOUT_BOX
from trainer.run.evaluations import is_shown
from trainer.run.stand_in import naming_addresses, output_file, stand_in_of

EPILOG = """\
examples:
  python -m trainer report --run-dir runs/first
  python -m trainer report --run-dir runs/first --data records --output run.html
  python -m trainer report --run-dir runs/first --without-box

--run-dir may be a folder of `evaluate --output`, too.
The page shows what the run directory holds: training curves, scores, and
pictures with their predictions. It says which parts are missing, and which
command makes them. For a model that finds numbers, it shows what was missed,
and what was found in vain. `trainer explain` shows what happens inside the
model.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `report`."""
    add_run_arguments(parser, required=True)
    parser.add_argument(
        "--output",
        type=place,
        help=f"HTML file to write (default: {REPORT}, or {WITHOUT_BOX}, in the run directory)",
    )
    parser.add_argument(
        "--without-box",
        action="store_true",
        help="show the numbers that `evaluate --finder` read in complete pictures, and the failures by kind",
    )
    parser.add_argument(
        "--split", help="split whose evaluation is shown (default: test, validation or train, whichever is there)"
    )
    parser.add_argument(
        "--data",
        type=place,
        help="dataset directory, if it has moved since the evaluation; its pictures are shown",
    )
    add_snapshot(parser)


@naming_addresses()
def run(args: argparse.Namespace) -> int:
    """Writes the page, and prints what it shows and where it is.

    Raises:
      UserError: The run directory or the output cannot be used.
      OSError: A file cannot be read or written.
    """
    if args.without_box and args.snapshot is not None:
        raise UserError("--snapshot must not go with --without-box.", args.snapshot)
    run_dir = run_directory(chosen_name(args.run_dir, args.weights))
    source = stand_in_of(run_dir)
    source.fetch(*(name for name in source.place.names() if is_shown(name)))
    output = output_file(args.output or source.place / (WITHOUT_BOX if args.without_box else REPORT))
    if find_pretrained(output.path.resolve().parent):
        raise UserError("--output must not be in the folder of the package's weights.", output.place)
    from tfrecords.pages.formats import format_bytes
    from trainer.report.write import write_report, write_unboxed_report

    if args.without_box:
        report = write_unboxed_report(run_dir, output.path, args.data, args.split)
    else:
        report = write_report(run_dir, output.path, args.data, args.split, args.snapshot)
    output.publish()
    for line in report.missing:
        print(f"note: {line}", file=sys.stderr)
    count = len(report.missing)
    missing = f", {count} part{'s' * (count > 1)} missing" if count else ""
    size = format_bytes(output.path.stat().st_size)
    print(f"Report with {report.num_pictures} pictures{missing} ({size}): {output.place}")
    return 0
