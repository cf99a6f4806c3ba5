"""Sizes of pictures by the beginnings of their files, and copies of pictures."""

import io
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from beam_jobs.annotation import Annotation, DeadLetter
from beam_jobs.explore.duplicates import MOST_NAMED, Candidate, Duplicates, Group, find_duplicates, pack_by_bucket
from beam_jobs.explore.headers import Header, read_headers
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from tests.pictures import NOISE, exif, saved
from tfrecords.files.place import Place

LARGE = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)


def jpeg(pixels: np.ndarray, orientation: int = 1, filler: int = 0) -> bytes:
    """A JPEG whose size comes after `filler` bytes of another application's data."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", exif=b"Exif\0\0" + exif(orientation), quality=95)
    data = stream.getvalue()
    segment = b"\xff\xef" + (filler + 2).to_bytes(2, "big") + bytes(filler) if filler else b""
    return data[:2] + segment + data[2:]


FILES = {
    "plain.png": (saved(NOISE, "PNG"), (64, 64)),
    "photo.jpg": (jpeg(LARGE), (300, 400)),
    "sideways.jpg": (jpeg(LARGE, orientation=6), (400, 300)),
    "late.jpg": (jpeg(LARGE, filler=60_000), (300, 400)),
    "whole.webp": (saved(LARGE, "WEBP", lossless=True), (300, 400)),
}
BROKEN = {"text.png": (b"no picture", "not_a_picture"), "gone.png": (None, "missing_picture")}


def subset_of(place: Place) -> Subset:
    """The one subset of a folder of pictures that is called as their number."""
    (subset,) = load_source("image-folder").find_subsets(Input(place), SourceOptions())
    return subset


def headers(place: Place, names: list[str], upright: bool = True) -> dict[str, Header | DeadLetter]:
    annotations = [Annotation("train", f"7/{name}", index, "7") for index, name in enumerate(names)]
    found = read_headers(annotations, load_source("image-folder"), subset_of(place), upright, place.is_remote)
    return {one.name.removeprefix("7/"): header for one, header in found}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    (root / "7").mkdir()
    for name, (data, _) in {**FILES, **BROKEN}.items():
        if data is not None:
            (root / "7" / name).write_bytes(data)
    return root


def test_sizes_are_those_of_the_pictures_as_viewers_show_them(folder: Path) -> None:
    found = headers(Place(folder), list(FILES))
    assert {name: header.size for name, header in found.items() if isinstance(header, Header)} == {
        name: size for name, (_, size) in FILES.items()
    }
    assert len({header.fingerprint for header in found.values() if isinstance(header, Header)}) == len(FILES)
    stored = headers(Place(folder), ["sideways.jpg"], upright=False)["sideways.jpg"]
    assert isinstance(stored, Header) and stored.size == (300, 400)


def test_a_picture_that_cannot_be_read_gets_a_reason(folder: Path) -> None:
    for name, header in headers(Place(folder), list(BROKEN)).items():
        assert isinstance(header, DeadLetter) and header.reason == BROKEN[name][1]
        assert header.detail.startswith(f"train/7/{name}: ")


def test_headers_from_an_address_are_the_same(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in (folder / "7").iterdir():
        memory.pipe_file(f"/headers/7/{path.name}", path.read_bytes())
    try:
        names = [*FILES, *BROKEN]
        assert headers(Place("memory://headers"), names) == headers(Place(folder), names)
    finally:
        memory.rm("/headers", recursive=True)


def test_sizes_of_pictures_that_are_no_files_are_those_of_their_pixels(tmp_path: Path) -> None:
    rows = [",".join(map(str, [*(np.arange(64) % 17), label])) for label in (1, 2)]
    (tmp_path / "optdigits.tra").write_text("\n".join(rows))
    (subset,) = load_source("optdigits").find_subsets(Input(Place(tmp_path)), SourceOptions())
    annotations = list(load_source("optdigits").read_annotations(subset, 0, 2, "left", SourceOptions()))
    found = [header for _, header in read_headers(annotations, load_source("optdigits"), subset, True, False)]
    assert found[0] == found[1] and isinstance(found[0], Header) and found[0].size == (8, 8)


def test_copies_are_pictures_of_equal_content_whatever_their_fingerprints() -> None:
    content = {"train/1.png": b"a", "train/2.png": b"a", "test/3.png": b"a", "train/4.png": b"b", "train/5.png": b"c"}
    texts = {"train/1.png": "7", "train/2.png": "7", "test/3.png": "1", "train/4.png": "4", "train/5.png": "5"}
    candidates = [Candidate(9 if name != "train/5.png" else 3, name, texts[name]) for name in content]
    packed = [*pack_by_bucket(candidates[:2]), *pack_by_bucket(candidates[2:])]
    found = Duplicates()
    for bucket in {bucket for bucket, _ in packed}:
        found.add(find_duplicates([one for each, one in packed if each == bucket], content.__getitem__))
    group = Group((("test/3.png", "1"), ("train/1.png", "7"), ("train/2.png", "7")))
    assert found == Duplicates(1, 2, 1, 1, 0, [group])


def test_of_many_copies_the_first_are_named_and_the_others_counted() -> None:
    names = [f"train/{index:04}.png" for index in range(MOST_NAMED + 7)]
    packed = [one for _, one in pack_by_bucket([Candidate(1, name, "7") for name in names[::-1]])]
    found = find_duplicates(packed, lambda _: b"blank")
    group = Group(tuple((name, "7") for name in names[:MOST_NAMED]), 7)
    assert found == Duplicates(1, MOST_NAMED + 6, 0, 0, 0, [group])


def test_a_picture_that_is_named_twice_is_no_copy_of_itself() -> None:
    packed = [one for _, one in pack_by_bucket([Candidate(1, "train/1.png", "7"), Candidate(1, "train/1.png", "7")])]
    assert find_duplicates(packed, {"train/1.png": b"a"}.__getitem__) == Duplicates(named_twice=1)
