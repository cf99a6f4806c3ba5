"""python -m beam_jobs sources: lists the formats that `prepare` reads, with what each expects."""

import argparse
import textwrap
from collections.abc import Iterator

from beam_jobs.sources import SOURCES, load_source
from beam_jobs.sources.base import Source

EPILOG = """\
examples:
  python -m beam_jobs sources
  python -m beam_jobs sources table coco

docs/sources.md describes each format with an example.
"""
_WIDTH, _INDENT = 80, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `sources`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="sources to describe (default: all)")


def run(args: argparse.Namespace) -> int:
    """Prints the list.

    Raises:
      UserError: There is no source of a name.
    """
    for index, name in enumerate(args.names or SOURCES):
        if index:
            print()
        print("\n".join(describe(name, load_source(name))))
    return 0


def describe(name: str, source: Source) -> Iterator[str]:
    """Yields the lines that describe a source: its title, its input, the flags that it heeds, its defaults.

    Args:
      name: Name of the source.
      source: The source.
    """
    yield f"{name}: {source.title}"
    yield from _paragraph("input", source.expects)
    if flags := [*source.options, *(["media_root"] if source.takes_media_root else [])]:
        yield from _paragraph("flags", ", ".join(map(_flag, flags)))
    if source.defaults:
        values = ", ".join(f"{_flag(each)} {value}" for each, value in source.defaults.items())
        yield from _paragraph("defaults", values)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _paragraph(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{title}: {text}",
        _WIDTH,
        initial_indent=" " * _INDENT,
        subsequent_indent=" " * (_INDENT + 2),
        break_on_hyphens=False,
    )
