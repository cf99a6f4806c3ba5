"""Bar charts and two-dimensional histograms: well-formed, and with heights and places in proportion."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from tfrecords.pages.bars import BarAxes, BarSeries, bar_chart, class_ticks
from tfrecords.pages.charts import BOTTOM, HEIGHT
from tfrecords.pages.heat import HeatAxis, heat_map

BASE = HEIGHT - BOTTOM


def parse(svg: str) -> ElementTree.Element:
    assert "{" not in svg and "<script" not in svg and "#" not in re.sub("&#x?[0-9a-f]+;", "", svg)
    return ElementTree.fromstring(svg)


def rects(svg: str, kind: str) -> list[dict[str, str]]:
    return [dict(each.attrib) for each in parse(svg).iter("rect") if kind in each.attrib["class"].split()]


def test_heights_are_in_proportion_and_zeros_have_no_bar() -> None:
    svg = bar_chart([BarSeries("", [10, 0, 5, 2.5])], list("abcd"), BarAxes(class_ticks(list("abcd"))), "x & y")
    heights = [float(bar["height"]) for bar in rects(svg, "bar")]
    assert len(heights) == 3
    assert heights[1] / heights[0] == pytest.approx(0.5, abs=0.01)
    assert heights[2] / heights[0] == pytest.approx(0.25, abs=0.01)
    assert all(float(bar["y"]) + float(bar["height"]) == pytest.approx(BASE) for bar in rects(svg, "bar"))
    assert parse(svg).attrib["aria-label"] == "x & y"
    assert [each.text for each in parse(svg).iter("title")] == ["a: 10", "c: 5", "d: 2.5"]


def test_on_a_logarithmic_axis_equal_ratios_are_equal_distances_and_a_count_of_one_is_seen() -> None:
    svg = bar_chart([BarSeries("", [1, 10, 100, 1000])], list("abcd"), BarAxes({}, log=True), "")
    tops = [float(bar["y"]) for bar in rects(svg, "bar")]
    steps = [a - b for a, b in itertools.pairwise(tops)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.15)
    assert BASE - tops[0] > 2


def test_the_guide_is_at_its_value() -> None:
    svg = bar_chart([BarSeries("", [0.2, 0.1])], ["1", "2"], BarAxes({}, percent=True, guide=0.1), "")
    (guide,) = (each.attrib["d"] for each in parse(svg).iter("path") if each.attrib["class"] == "guide")
    level = float(re.match(r"M\d+ ([\d.]+)H", guide)[1])  # type: ignore[index]
    assert level == pytest.approx(float(rects(svg, "bar")[1]["y"]), abs=0.1)


def test_series_are_next_to_each_other_with_a_legend() -> None:
    svg = bar_chart([BarSeries("train", [1, 2]), BarSeries("test", [3, 4])], ["a", "b"], BarAxes({}), "")
    main, second = rects(svg, "main"), rects(svg, "second")
    # The first of each is the legend's.
    for one, other in zip(main[1:], second[1:], strict=True):
        assert float(one["x"]) + float(one["width"]) == pytest.approx(float(other["x"]), abs=0.11)
    texts = [each.text for each in parse(svg).iter("text")]
    assert texts[:2] == ["train", "test"]


@pytest.mark.parametrize("values", [[[]], [], [[1], [2], [3], [4]], [[1, 2]]])
def test_series_must_fit_the_names(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"series must have a value for each name. Received: "):
        bar_chart([BarSeries("", each) for each in values], ["a"][: len(values[0]) if values else 0], BarAxes({}), "")


def test_cells_have_their_place_and_the_log_of_their_count() -> None:
    counts = {(0, 0): 1, (3, 1): 1000}
    svg = heat_map(counts, dict.fromkeys(counts, "here"), HeatAxis(4, {0: "1"}, "wide"), HeatAxis(2, {}, "high"), "")
    low, high = rects(svg, "cell")
    assert float(high["x"]) - float(low["x"]) == pytest.approx(3 * float(low["width"]), abs=0.2)
    assert float(low["y"]) - float(high["y"]) == pytest.approx(float(low["height"]), abs=0.2)
    assert (low["style"], high["style"]) == ("--s: 0.10", "--s: 1.00")
    assert [each.text for each in parse(svg).iter("title")] == ["here: 1", "here: 1,000"]


@pytest.mark.parametrize(("width", "most"), [(1, 17), (2, 11), (32, 2)])
def test_labels_of_bars_do_not_touch(width: int, most: int) -> None:
    labels = [f"{index:0{width}}"[-width:] for index in range(33)]
    ticks = class_ticks(labels)
    assert 1 <= len(ticks) <= most and ticks[0.5] == labels[0]
    places = sorted(ticks)
    # 278 units for 33 bars, and 6.7 units for a letter.
    assert all((after - before) * 278 / 33 > 6.7 * width for before, after in itertools.pairwise(places))
