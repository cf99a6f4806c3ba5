"""What was found to one HTML page that needs nothing but itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beam_jobs.annotation import NO_FAULTS
from beam_jobs.explore import charts
from beam_jobs.explore.bins import pixel_counts
from beam_jobs.explore.config import COMMAND, ExploreConfig
from beam_jobs.explore.duplicates import Duplicates
from beam_jobs.explore.gallery import Gallery
from beam_jobs.explore.statistics import (
    BIN_DEGREES,
    MILLIONTHS,
    SIDES,
    TAILS_DEGREES,
    VERTICAL_DEGREES,
    Statistics,
    mean_of,
    quantile_of,
    total,
)
from tfrecords.images.channels import to_channels
from tfrecords.pages.bars import MOST_SERIES
from tfrecords.pages.formats import visible
from tfrecords.pages.page import jpeg_data_uri, png_data_uri, render_page

_TEMPLATE = Path(__file__).parent / "explore.html"
_MOST_LISTED = 24
"""Lengths that a table lists."""
_LARGEST_PNG = 30_000
"""Largest PNG on the page, characters of its URI."""


def render(
    name: str, statistics: Mapping[str, Statistics], duplicates: Duplicates, gallery: Gallery, config: ExploreConfig
) -> str:
    """Returns the page; the same values give the same page.

    Args:
      name: Name of the input.
      statistics: Statistics by subset.
      duplicates: Pictures of equal content.
      gallery: Pictures to show.
      config: How the input was read.
    """
    found = total(statistics.values())
    subsets = dict(statistics)
    values: dict[str, Any] = {
        "name": name,
        "config": config,
        "subsets": subsets,
        "total": found,
        "duplicates": duplicates,
        "gallery": gallery,
        "uri": image_uri,
        "faults": {reason: count for reason, count in sorted(found.rejected.items()) if reason not in NO_FAULTS},
        "no_faults": [
            (what, found.rejected[reason]) for reason, (_, what) in NO_FAULTS.items() if found.rejected[reason]
        ],
        "characters": [(one, visible(one)) for one in charts.characters_of(found)],
        "lengths": sorted(found.lengths)[:_MOST_LISTED],
        "most_series": MOST_SERIES,
        "tails": TAILS_DEGREES,
        "sides": SIDES,
        "bin_degrees": BIN_DEGREES,
        "vertical": VERTICAL_DEGREES,
        "median": lambda counts: quantile_of(counts, 0.5),
        "mean": mean_of,
        "pixels": pixel_counts(found.sizes),
        "mean_cut": found.cut_millionths / MILLIONTHS / found.crops if found.crops else None,
        **_charts(subsets, found),
    }
    return render_page(_TEMPLATE, COMMAND, values)


def image_uri(image: NDArray[np.uint8]) -> str:
    """Returns an image as a `data:` URI, as PNG if that is small and as JPEG if not: a page has 2 MB.

    Args:
      image: (height, width, 1 or 3) uint8.
    """
    uri = png_data_uri(image)
    return uri if len(uri) <= _LARGEST_PNG else jpeg_data_uri(to_channels(image, 3))


def _charts(subsets: Mapping[str, Statistics], found: Statistics) -> dict[str, Any]:
    """Returns the charts by the names that the template has for them; empty where there is nothing to draw."""
    return {
        "label_chart": charts.label_chart(subsets, found) if found.characters else "",
        "length_charts": (
            [charts.length_chart(subsets, found, log) for log in (False, True)] if len(found.lengths) > 1 else []
        ),
        "slope_charts": [charts.slope_chart(found, log) for log in (False, True)] if found.slopes else [],
        "size_chart": charts.size_chart(found) if len(found.sizes) > 1 else "",
        "pixel_chart": charts.pixel_chart(found) if len(found.sizes) > 1 else "",
        "box_charts": charts.box_charts(found) if found.box_heights else {},
        "cut_chart": charts.cut_chart(found) if found.crops and max(found.cut) else "",
    }
