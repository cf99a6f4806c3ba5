"""A static site of a sample: the same pages as files, for publication."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfrecords.browse.catalogue import Catalogue, Spot
from tfrecords.browse.links import SiteLinks
from tfrecords.browse.query import Query
from tfrecords.browse.source_folder import SourceFolder
from tfrecords.browse.stock import Stock
from tfrecords.browse.views import COMMAND, REJECTED_PER_PAGE, Views
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_path
from tfrecords.files.purpose import check_writable
from tfrecords.pages.page import footer_mark

INDEX = "index.html"
"""Name of the first page."""


def check_site(output: Path, overwrite: bool) -> None:
    """Checks that a site may be written to a folder: one that is new or empty, or with `overwrite` an earlier site.

    Raises:
      UserError: It is a file or a folder with something else, or cannot be written to.
    """
    check_writable("--output", output.absolute().parent)
    if not output.exists() and not output.is_symlink():
        return
    if not output.is_dir() or output.is_symlink():
        raise UserError("--output must be a new folder, or one of an earlier site.", output)
    names = sorted(path.name for path in output.iterdir())
    if not names:
        return
    index = output / INDEX
    is_own = index.is_file() and footer_mark(COMMAND).encode() in index.read_bytes()
    strange = [name for name in names if not name.endswith(".html") or not (output / name).is_file()]
    if not is_own or strange:
        rule = "--output must be a new folder, or one of an earlier site with nothing else in it."
        raise UserError(rule, f"{output} with {(strange or names)[0]}")
    if not overwrite:
        raise UserError("--output has a site already; --overwrite replaces it.", output)


def write_site(output: Path, stock: Stock, sources: SourceFolder | None, split: str, count: int, seed: int) -> int:
    """Writes a site, which appears complete or not at all; the same values give the same bytes.

    Args:
      output: Folder, checked by `check_site`.
      stock: Dataset.
      sources: Folder of source pictures; None if none was given.
      split: Name of a split; an empty text for all.
      count: Largest number of examples, and of rejected pictures.
      seed: Random seed of the sample.

    Returns:
      Number of examples of the site.

    Raises:
      UserError: There is no such split, or no example.
      OSError: A file cannot be written.
    """
    catalogue = stock.shown
    query = Query(split=split)
    catalogue.check(query)
    spots = sample(catalogue, query, count, seed)
    if not spots:
        raise UserError("The dataset must have at least one example, to make a site of.", split or catalogue.place)
    with atomic_path(output, sole_writer=True) as temporary:
        temporary.mkdir()
        for name, page in _pages(stock, sources, query, spots, count, seed):
            # Keys may hold one half of a surrogate pair, which UTF-8 cannot encode.
            (temporary / name).write_text(page, encoding="utf-8", errors="replace")
    return len(spots)


def sample(catalogue: Catalogue, query: Query, count: int, seed: int) -> list[Spot]:
    """Returns a random sample of examples, in stored order.

    Args:
      catalogue: Dataset.
      query: Query with nothing but a split.
      count: Largest number of examples.
      seed: Random seed.
    """
    total = catalogue.count(query)
    positions = np.random.default_rng(seed).choice(total, min(count, total), replace=False)
    return [spot for each in sorted(positions.tolist()) for spot in catalogue.spots(query, each, each + 1)]


def _pages(
    stock: Stock, sources: SourceFolder | None, query: Query, spots: list[Spot], count: int, seed: int
) -> Iterator[tuple[str, str]]:
    """Yields name and content of each page."""
    catalogue = stock.shown
    rejected = min(catalogue.annotations.count(""), count)
    links = SiteLinks(len(spots), rejected, catalogue.snapshot is not None)
    views = Views(catalogue, sources, links)
    total = catalogue.count(query)
    about = f"A random sample of {total:,}" if len(spots) < total else f"All of {total:,}"
    about += f", in stored order{f' of {query.split}' if query.split else ''} (--seed {seed})."
    for page, start in enumerate(range(0, len(spots), views.per_page), 1):
        shown = spots[start : start + views.per_page]
        yield links.examples(query, page), views.examples(query, page, shown, len(spots), about)
    for position, spot in enumerate(spots):
        yield links.example(query, position), views.example(query, position, len(spots), spot)
    for page, _ in enumerate(range(0, rejected, REJECTED_PER_PAGE), 1):
        yield links.rejected(query, page=page), views.rejected(query, "", page, rejected)
    yield links.about(query), views.about(query)
    if links.has_snapshots:
        yield links.snapshots(query), views.snapshots(query, *stock.snapshots())
