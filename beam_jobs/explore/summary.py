"""What was found as statistics.json: by subset and in total."""

import json
import math
from collections.abc import Mapping
from typing import Any

from beam_jobs.explore.bins import octave_edge, pixel_counts, size_cells
from beam_jobs.explore.config import COMMAND, ExploreConfig
from beam_jobs.explore.duplicates import Duplicates
from beam_jobs.explore.statistics import (
    ASPECT_BIN,
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

SUFFIX = ".statistics.json"
"""End of the name of the file of statistics, after the page's stem."""
MADE_BY = "made_by"
_DIGITS = 6
"""Significant digits of means and shares."""


def statistics_json(statistics: Mapping[str, Statistics], duplicates: Duplicates, config: ExploreConfig) -> bytes:
    """Returns the file: equal input and settings give equal bytes, whatever the runner.

    Args:
      statistics: Statistics by subset, in the order of the source.
      duplicates: Pictures of equal content.
      config: How the input was read.
    """
    found = {
        MADE_BY: COMMAND,
        "source": config.source,
        "growth": config.crop.growth,
        "digit_order": config.digit_order,
        "orientation": config.orientation,
        "total": summary(total(statistics.values())),
        "subsets": {name: summary(one) for name, one in statistics.items()},
        "duplicates": {
            "groups": duplicates.groups,
            "copies": duplicates.copies,
            "across_subsets": duplicates.across,
            "with_other_numbers": duplicates.disagreeing,
            "named_twice": duplicates.named_twice,
            "examples": [
                {"pictures": [{"picture": name, "text": text} for name, text in one.pictures], "more": one.more}
                for one in duplicates.examples
            ],
        },
    }
    return (json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def summary(found: Statistics) -> dict[str, Any]:
    """Returns the statistics of one subset, or of all, as JSON values."""
    characters = found.characters.total()
    return {
        "entries": found.entries,
        "numbers": found.lengths.total(),
        "unlabelled": found.unlabelled,
        "rejected": dict(sorted(found.rejected.items())),
        "characters": {
            character: {"count": count, "share": _rounded(count / characters)}
            for character, count in sorted(found.characters.items())
        },
        "lengths": {str(length): count for length, count in sorted(found.lengths.items())},
        "slopes": _slopes(found),
        "pictures": _pictures(found),
        "boxes": {
            "height": _measured(found.box_heights),
            "width": _measured(found.box_widths),
            "aspect": {
                "bin": ASPECT_BIN,
                "counts": [[_rounded(index * ASPECT_BIN), count] for index, count in sorted(found.box_aspects.items())],
            },
        },
        "margins": {
            "numbers": found.crops,
            "uncut": found.cut[0],
            "mean_share_cut": _rounded(found.cut_millionths / MILLIONTHS / found.crops) if found.crops else None,
            "percent_cut": [[percent, count] for percent, count in sorted(found.cut.items())],
            "cut_by_edge": {side: found.cut_sides[side] for side in SIDES},
        },
    }


def _slopes(found: Statistics) -> dict[str, Any]:
    return {
        "numbers": found.slopes.total(),
        "bin_degrees": BIN_DEGREES,
        "counts": [[index * BIN_DEGREES, count] for index, count in sorted(found.slopes.items())],
        "above_degrees": {str(limit): found.tails[limit] for limit in TAILS_DEGREES},
        "below_minus_degrees": {str(limit): found.tails[-limit] for limit in TAILS_DEGREES},
        "vertical_within_degrees": VERTICAL_DEGREES,
        "bottom_to_top": found.upwards,
        "top_to_bottom": found.downwards,
    }


def _pictures(found: Statistics) -> dict[str, Any]:
    cells = size_cells(found.sizes)
    return {
        "count": found.pictures,
        "sizes": len(found.sizes),
        "width": _measured(_side(found, 1), with_counts=False),
        "height": _measured(_side(found, 0), with_counts=False),
        "pixels": _measured(pixel_counts(found.sizes), with_counts=False),
        "width_height_histogram": [
            [_rounded(octave_edge(width)), _rounded(octave_edge(height)), count]
            for (width, height), count in sorted(cells.items())
        ],
    }


def _side(found: Statistics, axis: int) -> dict[int, int]:
    """Returns the number of pictures by their height (axis 0) or width (axis 1)."""
    counts: dict[int, int] = {}
    for size, count in found.sizes.items():
        counts[size[axis]] = counts.get(size[axis], 0) + count
    return counts


def _measured(counts: Mapping[int, int], with_counts: bool = True) -> dict[str, Any]:
    """Returns the least, mean, median and largest of counted values; null where there is none."""
    mean = mean_of(counts)
    found: dict[str, Any] = {
        "min": min(counts, default=None),
        "mean": None if mean is None else _rounded(mean),
        "median": quantile_of(counts, 0.5),
        "max": max(counts, default=None),
    }
    return {**found, "counts": [list(each) for each in sorted(counts.items())]} if with_counts else found


def _rounded(value: float) -> float:
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value)))) if value else 0.0
