"""The order of tests for several workers of pytest-xdist: each begins with modules that take long."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")

LONGEST = (
    # They wait more than they compute: best at the start, while type checking and the API reference take the cores.
    "test_beam_jobs_watch_soak.py",
    "test_benchmarks_watch.py",
    "test_streaming_guarantees.py",
    "test_trainer_fit_follow_kills.py",
    "test_trainer_finding_runs.py",
    "test_trainer_fit_follow.py",
    # They compute.
    "test_end_to_end.py",
    "test_meters.py",
    "test_trainer_commands_export.py",
    "test_benchmarks_gpu.py",
    "test_benchmarks_readers.py",
    "test_trainer_distribute_strategy.py",
)
"""Modules of 15 s to 80 s each: at the end of a run, one would keep a worker busy while the others are idle."""


def long_first(items: Sequence[Item], workers: int, module: Callable[[Item], str]) -> list[Item]:
    """Returns the items so that the share of each worker begins with some of the longest modules, whole.

    With `--dist worksteal` a worker gets equal numbers of items in their order, and those that others take from it are
    its last ones: what is first is run where it was dealt, so that no fixture of these modules is made twice.

    Args:
      items: Tests in their order.
      workers: Number of workers.
      module: Function that returns the file name of an item's module.
    """
    modules: dict[str, list[Item]] = {name: [] for name in LONGEST}
    others = [item for item in items if module(item) not in modules]
    for item in items:
        if (name := module(item)) in modules:
            modules[name].append(item)
    heads: list[list[Item]] = [[] for _ in range(workers)]
    for index, found in enumerate(filter(None, modules.values())):
        heads[index % workers] += found
    left, rest, ordered = len(items), iter(others), list[Item]()
    for index, head in enumerate(heads):
        share = left // (workers - index)
        left -= share
        ordered += [*head, *islice(rest, max(0, share - len(head)))]
    return [*ordered, *rest]
