"""Stamps of listings and digests of contents."""

import os
import shutil
from pathlib import Path

import pytest

from beam_jobs.watch.inboxes.identity import Content, digest_of, list_files, sample_pictures, stamp_of
from tests.stores import Bucket
from tfrecords.files.place import Place


def make(folder: Path) -> Path:
    for name, data in {"a.csv": b"1", "photos/1.png": b"22", ".part": b"3", "photos/.thumbs/1.png": b"4"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_listing_has_the_sizes_and_times_of_files_that_are_not_hidden(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    files = list_files(Place(folder))
    times = {name: str((folder / name).stat().st_mtime_ns) for name in ("a.csv", "photos/1.png")}
    assert files == {"a.csv": (1, times["a.csv"]), "photos/1.png": (2, times["photos/1.png"])}
    assert list_files(Place(folder / "a.csv")) == {"": (1, times["a.csv"])}
    with pytest.raises(FileNotFoundError):
        list_files(Place(tmp_path / "none"))


def test_a_link_that_leads_nowhere_is_in_a_listing(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    (folder / "2.png").symlink_to("nowhere")
    assert sorted(list_files(Place(folder))) == ["2.png", "a.csv", "photos/1.png"]


def test_a_stamp_differs_when_a_name_a_size_or_a_time_does(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    stamps = [stamp_of(list_files(Place(folder)))]
    changes = [
        lambda: (folder / "a.csv").rename(folder / "b.csv"),
        lambda: (folder / "b.csv").write_bytes(b"1more"),
        lambda: os.utime(folder / "b.csv", ns=(5, 5)),
        lambda: (folder / "b.csv").unlink(),
    ]
    for change in changes:
        change()
        stamps.append(stamp_of(list_files(Place(folder))))
    assert len(set(stamps)) == len(stamps)
    (folder / ".part").unlink()
    assert stamp_of(list_files(Place(folder))) == stamps[-1], "hidden files are no part of it"


def test_a_copy_with_its_times_has_the_same_stamp(tmp_path: Path) -> None:
    folder = make(tmp_path / "b")
    shutil.copytree(folder, tmp_path / "c")
    assert stamp_of(list_files(Place(tmp_path / "c"))) == stamp_of(list_files(Place(folder)))


def test_a_digest_differs_when_annotations_or_names_or_sizes_of_pictures_do() -> None:
    contents = [
        [],
        [Content("", "a")],
        [Content("", "b")],
        [Content("test", "a")],
        [Content("", "a", {"1.png": 5})],
        [Content("", "a", {"1.png": 6})],
        [Content("", "a", {"2.png": 5})],
        [Content("", "a", {"1.png": 5, "2.png": 5})],
        [Content("", "a", {"1.png": 5}), Content("test", "a", {"1.png": 5})],
        [Content("", "a", {"1.png": 5}, {"1.png": "beginning"})],
    ]
    digests = [digest_of(each) for each in contents] + [digest_of([], "corrected"), digest_of(contents[1], "corrected")]
    assert len(set(digests)) == len(digests)
    assert digest_of(reversed(contents[8])) == digest_of(contents[8])
    assert digest_of([Content("", "a", {"2.png": 5, "1.png": 5})]) == digests[7]
    assert digest_of([Content("", "a", {"\udcff.png": 5})]), "any name of a file has one"


def test_a_listing_of_a_store_has_sizes_and_versions(bucket: Bucket) -> None:
    bucket.put("in/b/a.csv", b"1")
    bucket.put("in/b/photos/1.png", b"22")
    bucket.put("in/b/photos/", b"")
    bucket.put("in/b/.part", b"22")
    bucket.put("in/bc.csv", b"22")
    place = Place(f"{bucket.address}/in/b")
    files = list_files(place)
    assert {name: size for name, (size, _) in files.items()} == {"a.csv": 1, "photos/1.png": 2}
    assert all(version for _, version in files.values())
    assert list_files(place) == files
    bucket.put("in/b/a.csv", b"2")
    assert stamp_of(list_files(place)) != stamp_of(files)
    assert [size for size, _ in list_files(Place(f"{bucket.address}/in/bc.csv")).values()] == [2]
    with pytest.raises(FileNotFoundError):
        list_files(Place(f"{bucket.address}/in/none"))


def test_of_many_pictures_in_a_store_some_are_read(bucket: Bucket) -> None:
    folder = Place(bucket.address) / "in"
    places = {f"{number}.png": (folder / f"{number}.png", len(str(number))) for number in range(100)}
    for name in places:
        bucket.put(f"in/{name}", name.encode())
    found = sample_pictures(places)
    assert 20 <= len(found) <= 32 and len(set(found.values())) == len(found)
    assert sample_pictures(dict(reversed(places.items()))) == found
    one = next(iter(found))
    bucket.put(f"in/{one}", b"others"[: len(one)])
    assert {name for name, each in sample_pictures(places).items() if each != found[name]} == {one}
