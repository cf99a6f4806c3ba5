"""A run directory to the HTML file of its page, which replaces none that shows more."""

from pathlib import Path

from tfrecords.dataset.manifest import FIND
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.pages.page import check_output, write_page
from trainer.report.finder import render_finder
from trainer.report.inputs import load_run
from trainer.report.page import COMMAND, Report, render
from trainer.report.unboxed import load_unboxed, render_unboxed

_PICTURE = b'<img src="data:image/'


def write_report(
    run_dir: Path,
    output: Path,
    data_dir: Place | Path | None = None,
    split: str | None = None,
    snapshot: int | None = None,
) -> Report:
    """Writes the page of a run atomically.

    Args:
      run_dir: Run directory.
      output: HTML file to write.
      data_dir: Dataset directory; None takes the one that the run names.
      split: Split whose evaluation is shown; None takes test, validation or train, whichever is there.
      snapshot: Number of a snapshot, if the dataset is a stream; None takes the one of the evaluation.

    Raises:
      UserError: The run directory cannot be used; or `output` is a file that is no report, or a page with pictures that
        would be replaced by one without.
      OSError: A file cannot be read or written.
    """
    check_output(output, COMMAND)
    run = load_run(run_dir, data_dir, split, snapshot)
    report = render_finder(run) if run.task == FIND else render(run)
    _check_pictures(output, report)
    write_page(output, report.html)
    return report


def write_unboxed_report(
    run_dir: Path, output: Path, data_dir: Place | None = None, split: str | None = None
) -> Report:
    """Writes the page of numbers that were read without a box, atomically.

    Args:
      run_dir: Run directory of the reader, or the folder of `evaluate --finder`.
      output: HTML file to write.
      data_dir: Dataset directory; None takes the one of the evaluation.
      split: Split whose evaluation is shown; None takes test, validation or train, whichever is there.

    Raises:
      UserError: There is no such evaluation, or `output` must not be replaced: see `write_report`.
      OSError: A file cannot be read or written.
    """
    check_output(output, COMMAND)
    report = render_unboxed(load_unboxed(run_dir, data_dir, split))
    _check_pictures(output, report)
    write_page(output, report.html)
    return report


def _check_pictures(output: Path, report: Report) -> None:
    """Raises a UserError if a page with pictures would be replaced by one without."""
    if report.num_pictures or not output.is_file() or _PICTURE not in output.read_bytes():
        return
    reason = report.missing[-1] if report.missing else "no prediction is left to show."
    rule = f"{output} has pictures, and the new page would have none: use --data for the dataset, or another --output"
    raise UserError(f"{rule} ({reason.rstrip('.')}).")
