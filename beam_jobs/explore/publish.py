"""The two files of a job: the page and statistics.json, next to each other on any file system."""

import json
import re
from pathlib import Path

from beam_jobs import filesystem
from beam_jobs.explore.config import COMMAND
from beam_jobs.explore.summary import MADE_BY, SUFFIX
from tfrecords.errors import UserError
from tfrecords.files.purpose import check_writable
from tfrecords.pages.page import SUFFIXES, footer_mark

_SUFFIX = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)


def statistics_path(output: str) -> str:
    """Returns the path of the statistics next to a page: `page.statistics.json` for `page.html`."""
    return without_suffix(output) + SUFFIX


def without_suffix(output: str) -> str:
    """Returns the path of a page without `.html` or `.htm`."""
    return _SUFFIX.sub("", output)


def check_outputs(output: str) -> None:
    """Checks that the page and the statistics may be written: new files, or those of an earlier call.

    Args:
      output: Path or address of the page.

    Raises:
      UserError: The page has another suffix, no file system has it, its folder cannot be written to, or another file
        is there.
      OSError: An existing file cannot be read.
    """
    filesystem.check_file_system(output)
    if not _SUFFIX.search(output):
        raise UserError(f"The page is HTML: --output must end in {' or '.join(SUFFIXES)}.", output)
    if filesystem.exists(output) and footer_mark(COMMAND).encode() not in _read(output):
        raise UserError("--output must be a new file, or a page of an earlier explore.", output)
    if filesystem.is_local(output):
        check_writable("--output", Path(output).parent)
    path = statistics_path(output)
    if filesystem.exists(path) and not _is_ours(_read(path)):
        raise UserError("The statistics next to --output must be a new file, or those of an earlier explore.", path)


def publish(output: str, page: str, statistics: bytes) -> None:
    """Writes both files, each complete or not at all; the page last.

    Args:
      output: Path or address of the page, checked by `check_outputs`.
      page: Content of the page.
      statistics: Content of statistics.json.

    Raises:
      UserError: A file cannot be written.
    """
    folder = filesystem.parent(output)
    filesystem.make_folder(folder)
    filesystem.publish(statistics_path(output), [statistics], folder)
    # JSON may hold one half of a surrogate pair, which UTF-8 cannot encode.
    filesystem.publish(output, [page.encode("utf-8", errors="replace")], folder)
    filesystem.sync_names(folder)


def _read(path: str) -> bytes:
    try:
        return filesystem.read_bytes(path)
    except IsADirectoryError:
        return b""


def _is_ours(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get(MADE_BY) == COMMAND
