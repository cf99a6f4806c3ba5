"""python -m trainer report: its options and its last line."""

import argparse
import sys
from pathlib import Path

from trainer.report.page import size, write_report
from trainer.run.directory import REPORT

EPILOG = """examples:
  python -m trainer report --run-dir runs/compact
  python -m trainer report --run-dir runs/compact --data /mnt/records --output compact.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `report`."""
    parser.add_argument("--run-dir", type=Path, required=True, help="the directory that train made")
    parser.add_argument("--output", type=Path, help="the page to write (report.html in the run directory)")
    parser.add_argument(
        "--data", type=Path, help="the dataset directory, if it is no longer where it was when evaluated"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the page; the last line on standard output says what was made and where.

    Raises:
      UserError: the run directory cannot be used.
    """
    output = args.output or args.run_dir / REPORT
    report = write_report(args.run_dir, output, args.data)
    for line in report.missing:
        print(f"note: {line}", file=sys.stderr)
    count = len(report.missing)
    missing = f", {count} part{'s' * (count > 1)} missing" if count else ""
    print(f"Report with {report.num_pictures} pictures{missing} ({size(output.stat().st_size)}): {output}")
    return 0
