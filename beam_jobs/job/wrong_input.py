"""What an input is that the chosen source cannot read: an archive, or a format of another source."""

from itertools import islice

from beam_jobs.sources import SOURCES, load_source
from beam_jobs.sources.base import Input, SourceOptions
from tfrecords.errors import UserError

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
_TRIED = 50
"""Numbers of a subset that are read to see whether a source finds some."""


def refuse_archive(given: Input) -> None:
    """Checks that the input is no archive, which no source reads.

    Raises:
      UserError: It is one, by its name.
    """
    if given.place.text.lower().endswith(_ARCHIVES) and given.place.is_file():
        raise UserError("The input must be unpacked first: no source reads archives.", given.place)


def name_sources(error: UserError, given: Input, chosen: str) -> UserError:
    """Returns the error of a source that cannot read an input, with the sources that can, if there are any.

    Args:
      error: What the source says. If it names a source itself, it stays as it is.
      given: What was to be read.
      chosen: Name of the source.
    """
    # Other sources would fetch, too, what is at an address.
    if given.place.is_remote or "--source " in str(error) or not (given.place.is_file() or given.place.is_dir()):
        return error
    readers = [name for name in SOURCES if name != chosen and _finds_numbers(name, given)]
    # Any folder of pictures is one of image-folder.
    readers = [name for name in readers if name != "image-folder"] or readers
    if not readers:
        return error
    rule, mark, received = str(error).partition(" Received: ")
    hint = " or ".join(f"--source {name}" for name in readers)
    return UserError(f"{rule} {hint} finds numbers in this input.{mark}{received}")


def _finds_numbers(name: str, given: Input) -> bool:
    """Returns whether a source finds a number with a digit at the beginning of a subset."""
    source, options = load_source(name), SourceOptions()
    try:
        for subset in source.find_subsets(Input(given.place), options):
            annotations = source.read_annotations(subset, 0, min(subset.entries, _TRIED), "left", options)
            if any(not each.dead and any(map(str.isdigit, each.text)) for each in islice(annotations, _TRIED)):
                return True
    except (UserError, OSError):
        return False
    return False
