"""Processors that this process may use: those of its affinity, and no more than its control groups grant."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def processors(groups: Path = _GROUPS, root: Path = _ROOT) -> int:
    """Returns the number of processors that this process may use, at least 1.

    `os.cpu_count()` counts those of the machine: a container with two of 64 processors would start 64 workers.

    Args:
      groups: File that names the control groups of this process, as Linux writes it; see cgroups(7).
      root: Folder where control groups are mounted.
    """
    # Only Linux and some BSDs have an affinity.
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A share of 1.5 processors keeps two workers busy for three quarters of the time.
    return max(1, min(affine, *(math.ceil(quota) for quota in _quotas(groups, root)), affine))


def _quotas(groups: Path, root: Path) -> Iterator[float]:
    """Yields the limits of the control groups of this process and of those above them, in processors."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no controllers in the line, and one file.
        base, read = (root / "cpu", _quota_1) if controllers else (root, _quota_2)
        # In a container the path may be that of the host, which is not there; the group is the root then.
        for folder in (base, *(base / part for part in _prefixes(path))):
            try:
                quota = read(folder)
            except (OSError, ValueError):
                continue
            if quota > 0:
                yield quota


def _prefixes(path: str) -> Iterator[str]:
    """Yields the paths of the groups from the top down to one: a, a/b, a/b/c."""
    parts = [part for part in path.split("/") if part]
    for size in range(1, len(parts) + 1):
        yield "/".join(parts[:size])


def _quota_2(folder: Path) -> float:
    """Returns the limit of a group of version 2; raises ValueError for `max`, which is none."""
    quota, period = (folder / "cpu.max").read_text().split()
    return int(quota) / int(period)


def _quota_1(folder: Path) -> float:
    """Returns the limit of a group of version 1; negative if there is none."""
    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota) / int(period)
