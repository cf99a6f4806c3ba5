"""Processors that a process may use, by control groups of both versions."""

import os
from pathlib import Path

import pytest

from beam_jobs.job.processors import processors


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process use eight processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "200000 100000\n"}, 2, id="a container of version 2"),
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 2, id="a part of a processor is rounded up"),
        pytest.param("0::/\n", {"cpu.max": "max 100000\n"}, 8, id="no limit"),
        pytest.param("0::/\n", {}, 8, id="the root of version 2, which has no file"),
        pytest.param(
            "0::/a/b\n",
            {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"},
            3,
            id="a limit of a group above",
        ),
        pytest.param("0::/of/the/host\n", {"cpu.max": "100000 100000\n"}, 1, id="a path that is the host's"),
        pytest.param("0::/\n", {"cpu.max": "9900000 100000\n"}, 8, id="more than the machine has"),
        pytest.param("0::/\n", {"cpu.max": "50000 100000\n"}, 1, id="less than one"),
        pytest.param(
            "4:cpu,cpuacct:/docker/1\n3:memory:/x\n",
            {"cpu/docker/1/cpu.cfs_quota_us": "400000\n", "cpu/docker/1/cpu.cfs_period_us": "100000\n"},
            4,
            id="version 1",
        ),
        pytest.param(
            "4:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            8,
            id="none in 1",
        ),
        pytest.param("0::/\n", {"cpu.max": "damaged\n"}, 8, id="a file that is no limit"),
    ],
)
def test_a_limit_of_a_control_group_counts(tmp_path: Path, groups: str, files: dict[str, str], expected: int) -> None:
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert processors(tmp_path / "groups", tmp_path / "root") == expected


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert processors(tmp_path / "missing", tmp_path) == 8
