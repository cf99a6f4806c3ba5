"""The two files of a job: the page and statistics.json, next to each other in any place."""

import json
import re

from beam_jobs import filesystem
from beam_jobs.explore.config import COMMAND
from beam_jobs.explore.summary import MADE_BY, SUFFIX
from tfrecords.errors import UserError
from tfrecords.files.place import Place
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
      UserError: The page has another suffix, its place cannot be reached or written to, or another file is there.
      OSError: An existing file cannot be read.
    """
    page, statistics = Place(output), Place(statistics_path(output))
    page.refuse_web()
    if not _SUFFIX.search(output):
        raise UserError(f"The page is HTML: --output must end in {' or '.join(SUFFIXES)}.", output)
    content = _read(page)
    if content is not None and footer_mark(COMMAND).encode() not in content:
        raise UserError("--output must be a new file, or a page of an earlier explore.", output)
    content = _read(statistics)
    if content is not None and not _is_ours(content):
        rule = "The statistics next to --output must be a new file, or those of an earlier explore."
        raise UserError(rule, statistics)
    check_writable("--output", page.parent)


def publish(output: str, page: str, statistics: bytes) -> None:
    """Writes both files, each complete or not at all; the page last.

    Args:
      output: Path or address of the page, checked by `check_outputs`.
      page: Content of the page.
      statistics: Content of statistics.json.

    Raises:
      UserError: A file cannot be written.
    """
    place = Place(output)
    folder = place.parent
    filesystem.make_folder(folder)
    filesystem.publish(Place(statistics_path(output)), [statistics], folder)
    # JSON may hold one half of a surrogate pair, which UTF-8 cannot encode.
    filesystem.publish(place, [page.encode("utf-8", errors="replace")], folder)
    filesystem.sync_names(folder)


def _read(place: Place) -> bytes | None:
    """Returns the content of a file; None if there is none, and no bytes for a folder."""
    try:
        return place.read_bytes() if place.is_remote else filesystem.read_local(place.text)
    except FileNotFoundError:
        return b"" if place.is_dir() else None
    except IsADirectoryError:
        return b""
    except NotADirectoryError:
        return None  # below a file, where none can be written either


def _is_ours(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get(MADE_BY) == COMMAND
