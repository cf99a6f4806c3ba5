"""The order of tests: the longest modules at the start of each worker's share, and every test once."""

from pathlib import Path

import pytest

from tests.long_first import LONGEST, long_first

ITEMS = [(f"test_{letter}.py", index) for letter in "abcdefg" for index in range(20)]
LONG = [(name, index) for name in LONGEST for index in range(3)]


def _module(item: tuple[str, int]) -> str:
    return item[0]


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_each_share_begins_with_whole_long_modules_and_every_test_is_there_once(workers: int) -> None:
    items = sorted(ITEMS + LONG)
    ordered = long_first(items, workers, _module)
    assert sorted(ordered) == items
    start, left = 0, len(items)
    for worker in range(workers):
        dealt = [item for name in LONGEST[worker::workers] for item in LONG if item[0] == name]
        assert ordered[start : start + len(dealt)] == dealt
        share = left // (workers - worker)
        start, left = start + share, left - share
    assert [item for item in ordered if item in ITEMS] == ITEMS


def test_few_tests_are_all_there() -> None:
    assert long_first([], 3, _module) == []
    assert long_first(LONG[:7], 3, _module) == [*LONG[:3], *LONG[3:6], *LONG[6:7]]


def test_the_longest_modules_exist() -> None:
    assert [name for name in LONGEST if not (Path(__file__).parent / name).is_file()] == []
