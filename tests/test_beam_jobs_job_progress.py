"""Progress of jobs: the furthest of what files, counters and results say, never beyond the end."""

import time
from pathlib import Path

import pytest

from beam_jobs.job.progress import at_most_every, watch, watch_counts, write_count
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.monitoring import watch_progress
from beam_jobs.prepare.plan import make_plan
from beam_jobs.sources.base import Subset
from tests.stores import Bucket
from tfrecords.files.place import Place


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1].rpartition(",")[0]


def test_the_largest_count_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with watch([lambda: 3, lambda: 40], "prepare", 100, "pictures"):
        pass
    assert last_line(capsys) == "prepare: 40 %, 40 of 100 pictures"
    with watch([], "prepare", 100, "pictures"):
        pass
    assert capsys.readouterr().err == ""


def test_what_is_counted_twice_does_not_go_beyond_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with watch([lambda: 250], "prepare", 100, "pictures"):
        pass
    assert last_line(capsys) == "prepare: 100 %, 100 of 100 pictures"


def test_counts_in_files_and_of_a_cluster_are_of_the_same_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with watch_counts(tmp_path / "counts", "prepare", 100, "pictures", lambda: 20):
        write_count(tmp_path / "counts" / "one", 30)
        write_count(tmp_path / "counts" / "two", 31)
    assert last_line(capsys) == "prepare: 60 %, 61 of 100 pictures"


def test_a_service_is_not_asked_too_often() -> None:
    asked: list[float] = []

    def count() -> int:
        asked.append(time.monotonic())
        return len(asked)

    rare, often = at_most_every(3600, count), at_most_every(0, count)
    assert [rare(), rare(), rare()] == [1, 1, 1]
    assert [often(), often()] == [2, 3]


def test_results_in_a_bucket_are_progress_where_no_counter_is_reported(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(
        PrepareConfig(shards=4, validation_fraction=0), (Subset("train", "x", 80, ""),), Place(f"{bucket.address}/out")
    )
    (plan.results / "a.arrow").write([b"1"])
    with watch_progress(plan, lambda namespace, name: 0):
        pass
    assert last_line(capsys) == "prepare: 20 %, 20 of 80 pictures"
    with watch_progress(plan, lambda namespace, name: {("streetdigits", "pictures_done"): 44}[namespace, name]):
        pass
    assert last_line(capsys) == "prepare: 50 %, 44 of 80 pictures"
