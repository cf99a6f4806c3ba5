"""Paths that workers must see: what is wrong is found by a worker, stops the job, and is one line at its end."""

import socket
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_jobs.job import given
from beam_jobs.job.faults import check_mounts, unless, unseen
from beam_jobs.job.given import GivenData, absolute, ranges_of
from beam_jobs.job.mounts import Mounts, mounts_of
from beam_jobs.job.runner import make_runner, parse_beam_options
from beam_jobs.sources.base import Subset
from tfrecords.errors import UserError
from tfrecords.files.place import Place

WORKER = f"worker {socket.gethostname()}"
MOUNT = "mount it there or use s3://, gs://"


def test_a_worker_that_sees_everything_has_no_fault_and_leaves_no_file(tmp_path: Path) -> None:
    mounts = Mounts((str(tmp_path),)).writing(Place(tmp_path / "out"), Place(tmp_path))
    with mounts.marked():
        assert Path(mounts.marker).is_file()
        assert mounts.fault() is None
        mounts.require()
        assert [path.name for path in tmp_path.iterdir()] == [Path(mounts.marker).name]
    assert not list(tmp_path.iterdir())


def test_a_worker_without_a_path_says_which(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert Mounts((str(tmp_path), gone)).fault() == f"{WORKER} does not see {gone}; {MOUNT}"
    # The folder is there, but not what the launcher wrote to it: it is another machine's.
    other = Mounts((), str(tmp_path), str(tmp_path / ".launcher-1"))
    with pytest.raises(UserError, match=f"^{WORKER} does not see {tmp_path}; {MOUNT}$"):
        other.require()


def test_a_worker_that_cannot_write_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = Mounts().writing(Place(tmp_path), Place(tmp_path))

    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    with mounts.marked():
        monkeypatch.setattr(Path, "touch", refuse)
        assert mounts.fault() == f"{WORKER} cannot write to {tmp_path} (Read-only file system); {MOUNT}"


def test_addresses_are_no_mounts() -> None:
    subsets = (Subset("train", "s3://b/labels.csv", 3, "", "/pictures"), Subset("test", "/labels.csv", 3, "", "gs://b"))
    mounts = mounts_of(subsets)
    assert mounts == Mounts(("/pictures", "/labels.csv"))
    assert mounts.writing(Place("s3://b/out"), Place("s3://b/out/.prepare")) == mounts
    with Mounts().marked():
        assert Mounts().fault() is None


@pytest.mark.parametrize("is_seen", [True, False])
def test_nothing_is_done_where_workers_do_not_see_a_path(is_seen: bool, tmp_path: Path) -> None:
    options = parse_beam_options([], "prepare")
    path = str(tmp_path if is_seen else tmp_path / "gone")
    pipeline = beam.Pipeline(runner=make_runner(options), options=options)
    faults = check_mounts(pipeline, Mounts((path,)))
    assert_that(unless(pipeline | beam.Create([1, 2, 3]), faults), equal_to([1, 2, 3] if is_seen else []))
    result = pipeline.run()
    result.wait_until_finish()
    assert unseen(result) == ([] if is_seen else [f"{WORKER} does not see {path}; {MOUNT}"])


def test_a_job_on_one_machine_checks_nothing() -> None:
    pipeline = beam.Pipeline(options=parse_beam_options([], "prepare"))
    items = pipeline | beam.Create([1])
    assert check_mounts(pipeline, Mounts()) is None
    assert unless(items, None) is items


def test_paths_become_absolute_and_addresses_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = absolute(GivenData(source="coco", input="a/b.json", media_root="c"))
    assert (data.input, data.media_root) == (str(tmp_path / "a" / "b.json"), str(tmp_path / "c"))
    far = GivenData(source="coco", input="s3://b/labels.json")
    assert absolute(far) == far


def test_no_folder_of_the_launcher_is_left_in_a_path_that_leads_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "work" / "deep")
    monkeypatch.chdir(tmp_path / "work")
    data = absolute(GivenData(source="coco", input="../data/b.json", media_root="../link/../c"))
    # Workers see no folder `work`. The second path is in it all the same: `..` is the parent of what a link names.
    assert (data.input, data.media_root) == (str(tmp_path / "data" / "b.json"), str(tmp_path / "work" / "c"))


@pytest.mark.parametrize(("entries", "ranges"), [(1, 1), (250, 1), (4000, 16), (33_402, 32), (400_000, 100)])
def test_every_worker_gets_ranges_and_no_range_is_too_small(entries: int, ranges: int) -> None:
    found = ranges_of((Subset("train", "", entries, ""),))
    assert len(found) == ranges
    assert [each.start for each in found] == [0, *(each.stop for each in found[:-1])]
    assert found[-1].stop == entries
    assert all(each.stop - each.start <= given._ENTRIES_PER_RANGE for each in found)
