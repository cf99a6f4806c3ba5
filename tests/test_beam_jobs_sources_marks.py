"""What the sources of annotation tools have in common: boxes to numbers, names, places."""

from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions
from beam_jobs.sources.layout import relative_name
from beam_jobs.sources.marks import Mark, annotations_of, make_box
from tests.annotated import read
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox

WRITTEN = Path(__file__).parent / "written_by"


@pytest.mark.parametrize(
    ("source", "path"), [("voc", "voc_text"), ("cvat", "cvat"), ("label-studio", "label_studio/export.json")]
)
def test_an_address_reads_as_a_folder_does(source: str, path: str) -> None:
    system = fsspec.filesystem("memory")
    for file in (WRITTEN / path).parent.rglob("*.*"):
        if file.is_file():
            system.pipe_file(f"/written/{file.relative_to(WRITTEN).as_posix()}", file.read_bytes())
    expected = read(source, WRITTEN / path)
    options, reader = SourceOptions(), load_source(source)
    subsets = reader.find_subsets(Input(Place(f"memory://written/{path}")), options)
    found = [each for s in subsets for each in reader.read_annotations(s, 0, s.entries, "left", options)]
    assert found == expected and all(subset.path.startswith("memory://") for subset in subsets)
    system.pipe_file("/written/media/7.png", b"7")
    subset = replace(subsets[0], pictures="memory://written/media")
    assert reader.read_picture(subset, "7.png") == b"7"
    with pytest.raises(FileNotFoundError):
        reader.read_picture(subset, "8.png")
    system.rm("/written", recursive=True)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.png", "a.png"),
        (" a b/ç.png ", "a b/ç.png"),
        ("./a.png", "a.png"),
        ("a\\b.png", "a/b.png"),
        ("a//b%20.png", "a/b%20.png"),
        ("a/./b.png", "a/b.png"),
        (".hidden.png", ".hidden.png"),
        ("...png", "...png"),
        ("12:30.png", "12:30.png"),
        ("/a.png", None),
        ("\\\\host\\a.png", None),
        ("c:\\a.png", None),
        ("C:/a.png", None),
        ("a/../b.png", None),
        ("..", None),
        (" ", None),
        ("a\nb.png", None),
        ("\ud800.png", None),
        ("9.41\u202fAM.png", "9.41\u202fAM.png"),
    ],
)
def test_names_of_pictures_stay_in_their_folder(given: str, name: str | None) -> None:
    assert relative_name(given) == name


def test_a_character_that_cannot_be_used_takes_those_around_it_along() -> None:
    good, bad = make_box(1, 2, 3, 4), make_box(3, 2, 3, 4)
    assert good == (BoundingBox(2, 1, 4, 3), None) and bad[0] is None
    marks = [Mark("1", "", good[0]), Mark("2", "", *bad[:1], "", bad[1]), Mark("plate", "77", good[0])]
    first, second = annotations_of("train", "a.png", 5, marks, "left")
    assert first.dead and first.dead.reason == "empty_box" and first.key == "train/a.png@1"
    assert (second.text, second.part, second.index, second.others) == ("77", 2, 6, (good[0],))
    grouped = [mark._replace(group=str(at)) for at, mark in enumerate(marks)]
    assert [each.text for each in annotations_of("train", "a.png", 0, grouped, "left")] == ["1", "", "77"]


@pytest.mark.parametrize(
    "edges", [(0, 0, "1e9", 5), ("-inf", 0, 5, 5), (None, 0, 1, 1), (0, 0, 10**400, 5), (0, 0, 5, "nan")]
)
def test_edges_that_are_no_places_are_bad(edges: tuple[object, ...]) -> None:
    box, fault = make_box(*edges)
    assert box is None and fault and fault.reason == "bad_box"
