"""Counted values in the bins of charts."""

from collections import Counter

import numpy as np
import pytest

from beam_jobs.explore.bins import bins_of, octave_bin, octave_edge, octave_text, pixel_counts, size_cells


@pytest.mark.parametrize("spread", [1, 7, 100, 12_345])
def test_bins_hold_what_numpy_s_histogram_holds_and_the_last_one_all_larger_values(spread: int) -> None:
    values = np.random.default_rng(spread).integers(3, 3 + spread, 5000)
    values[:5] = 10**9
    bins = bins_of(Counter(values.tolist()))
    edges = bins.first + bins.width * np.arange(len(bins.counts) + 1)
    counts, _ = np.histogram(values, edges)
    # NumPy's last bin has its upper edge, ours have not.
    counts[-1] = (values >= edges[-2]).sum()
    assert bins.counts == counts.tolist() and len(bins.counts) <= 40
    assert bins.beyond == (values >= edges[-1]).sum() >= 5
    assert str(bins.width).rstrip("0") in ("1", "2", "5")
    assert bins.name(len(bins.counts) - 1, "pixels").endswith(" pixels or more")


def test_names_and_ticks_are_those_of_the_edges() -> None:
    bins = bins_of({10: 1, 11: 2, 12: 1})
    assert [bins.name(index, "pixels") for index in range(3)] == ["10 pixels", "11 pixels", "12 pixels"]
    assert bins.ticks() == {0.5: "10", 1.5: "11", 2.5: "12"}
    wide = bins_of(dict.fromkeys(range(0, 200, 5), 1))
    assert (wide.width, wide.name(1, "pixels"), wide.name(1, "", 0.05)) == (5, "5 to 9 pixels", "0.25 to 0.5")
    assert wide.ticks()[10.0] == "50"


def test_a_size_that_is_a_power_of_two_begins_its_bin() -> None:
    for power in range(1, 26):
        assert octave_edge(octave_bin(2**power)) == 2**power
        assert octave_bin(2**power - 1) < octave_bin(2**power)
    assert octave_text(octave_bin(64)) == "64 to 76 pixels" and octave_text(0, "wide") == "1 wide"


def test_sizes_are_counted_by_bins_of_width_and_height_and_by_pixels() -> None:
    sizes = {(32, 64): 3, (33, 65): 2, (64, 32): 1}
    assert size_cells(sizes) == {(24, 20): 5, (20, 24): 1}
    assert pixel_counts(sizes) == {2048: 4, 2145: 2}
