"""Folders of pictures: labels against other libraries' readings, layouts, patterns, and what has no number."""

import gc
import gzip
import io
import pickle
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_jobs.annotation import Annotation
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from tests.real_data import data_folder
from tfrecords.errors import UserError
from tfrecords.files.place import Place

SOURCE = load_source("image-folder")
PLAIN = SourceOptions()


def find(folder: Path, options: SourceOptions = PLAIN, *wanted: str) -> tuple[Subset, ...]:
    return SOURCE.find_subsets(Input(Place(folder), wanted), options)


def read(folder: Path, options: SourceOptions = PLAIN, *wanted: str) -> dict[str, list[Annotation]]:
    found = {}
    for subset in find(folder, options, *wanted):
        rows = list(SOURCE.read_annotations(subset, 0, subset.entries, "left", options))
        assert [row.index for row in rows] == list(range(subset.entries))
        found[subset.name] = rows
    return found


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def unread(folder: Path) -> list[str]:
    subsets = find(folder)
    return [path.removeprefix(f"{folder}/") for path in SOURCE.unread(Input(Place(folder)), subsets, PLAIN)]


@pytest.fixture
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 60 genuine test pictures of MNIST as PNGs in folders of their classes."""
    folder, data = tmp_path_factory.mktemp("mnist"), data_folder() / "mnist"
    with gzip.open(data / "t10k-images-idx3-ubyte.gz") as images, gzip.open(data / "t10k-labels-idx1-ubyte.gz") as file:
        pixels = np.frombuffer(images.read(16 + 60 * 784), np.uint8, offset=16).reshape(60, 28, 28)
        labels = file.read(8 + 60)[8:]
    for index, label in enumerate(labels):
        path = folder / ("train" if index < 40 else "test") / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index]).save(path)
    return folder


def test_genuine_mnist_is_what_datasets_and_scikit_learn_read(mnist: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    load_files = pytest.importorskip("sklearn.datasets").load_files
    datasets.disable_progress_bars()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        theirs = datasets.load_dataset("imagefolder", data_dir=str(mnist), cache_dir=str(tmp_path))
        gc.collect()
    for subset in find(mnist):
        rows = list(SOURCE.read_annotations(subset, 0, subset.entries, "left", PLAIN))
        files = [bytes(SOURCE.read_picture(subset, row.name)) for row in rows]
        names = theirs[subset.name].features["label"].names
        expected = [(row["image"].tobytes(), names[row["label"]]) for row in theirs[subset.name]]
        ours = [(Image.open(io.BytesIO(data)).tobytes(), row.text) for data, row in zip(files, rows, strict=True)]
        assert sorted(ours) == sorted(expected)
        found = load_files(mnist / subset.name, shuffle=False)
        assert sorted(zip(files, [row.text for row in rows], strict=True)) == sorted(
            (data, found.target_names[label]) for data, label in zip(found.data, found.target, strict=True)
        )
    texts = {row.name: row.text for rows in read(mnist).values() for row in rows}
    first = {int(Path(name).stem): text for name, text in texts.items()}
    assert [first[index] for index in range(5)] == ["7", "2", "1", "0", "4"]


def test_folders_are_the_text_and_leading_zeros_stay(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(
        folder, "0008/a b%20\u00e9.PNG", "12.5/x.jpeg", "12.5/notes.txt", "12.5/Thumbs.db", "7/y.heic", ".hidden/z.png"
    )
    rows = read(folder)["train"]
    expected = [("0008/a b%20\u00e9.PNG", "0008"), ("12.5/x.jpeg", "12.5"), ("7/y.heic", "7")]
    assert [(row.name, row.text) for row in rows] == expected
    assert not [row for row in rows if row.dead or row.box or row.boxes or row.part]
    assert unread(folder) == ["**/*.txt"]
    assert list(read(folder, PLAIN, "Mine")) == ["mine"]


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        (r"meter_([\d.]+)\.jpg", ["0042", "12.5", "", "", ""]),
        (r"(?P<kind>\w+)_(?P<text>\d+)", ["0042", "12", "9", "", ""]),
        (r"^(?:a/)?(\w+?)_|none", ["meter", "", "", "", "q"]),
        (r"_(\d*)[^/]*$", ["0042", "12", "9", "", ""]),
    ],
)
def test_a_pattern_finds_the_number_in_the_path(pattern: str, texts: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(folder, "a/meter_0042.jpg", "b/meter_12.5.jpg", "b/plate_9.png", "none.png", "q_.png")
    rows = read(folder, SourceOptions(pattern=pattern))["train"]
    assert [row.text for row in rows] == texts
    assert all((row.dead is None) == bool(text) for row, text in zip(rows, texts, strict=True))
    kinds = {row.name: row.dead.reason for row in rows if row.dead}
    assert kinds.get("none.png", "no_match") == "no_match"
    if pattern.startswith("_"):
        assert kinds["q_.png"] == "no_text"


def test_pictures_without_a_number_are_dead_letters_that_count(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(folder, "loose.png", "7/a.png", "7/deep/b.png", " /c.png")
    rows = read(folder)["train"]
    assert [(row.name, row.text) for row in rows if not row.dead] == [("7/a.png", "7")]
    assert Counter(row.dead.reason for row in rows if row.dead) == {"no_match": 2, "no_text": 1}
    details = {row.name: row.dead.detail for row in rows if row.dead}
    assert details["loose.png"] == (
        "train/loose.png: a picture must be in a folder that is named for its number, or --pattern find the number in "
        "its path. Received: loose.png"
    )
    assert "directly in the folder of its number" in details["7/deep/b.png"]
    (folder / "7" / b"\xff.png".decode("utf-8", "surrogateescape")).touch()
    (row,) = (row for row in read(folder)["train"] if row.dead and row.dead.reason == "not_utf8")
    assert row.name == f"#{row.index + 1}" and row.dead and row.dead.detail.isprintable()


def test_subsets_are_folders_with_their_names_and_the_others_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(folder, "Train/1/a.png", "VALID/2/b.png", "unsorted/c.png", "docs/readme.md", "loose.png", "labels.csv")
    touch(folder, "Train/classes.xml")
    assert {name: [row.text for row in rows] for name, rows in read(folder).items()} == {"train": ["1"], "valid": ["2"]}
    assert unread(folder) == ["*.csv", "*.png", "Train/**/*.xml", "unsorted"]
    assert list(read(folder, PLAIN, "VALID")) == ["valid"]
    assert list(read(folder, PLAIN, "unsorted")) == ["unsorted"]


@pytest.mark.parametrize(
    ("names", "pattern", "wanted", "message"),
    [
        (["a.txt"], None, (), "The input must hold pictures, in files that end in .avif"),
        (["train/a.txt"], None, (), "The input must hold pictures"),
        (["7/a.png"], "(", (), "pattern must be a regular expression of Python (missing ), unterminated subpattern"),
        (["7/a.png"], r"\d+", (), "pattern must have a group, whose text is the number: (?P<text>...) or (...)."),
        (["7/a.png"], None, ("a", "b"), "is one subset: give it one name. Received: a,b"),
        (["7/a.png"], None, ("a/b",), "The name of a subset must be of letters"),
        (["test/7/a.png"], None, ("train",), "holds the subsets test. Received: train"),
        (["test/7/a.png", "Test/7/a.png"], None, (), "must differ in more than their case. Received: Test, test"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    names: list[str], pattern: str | None, wanted: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError) as error:
        find(tmp_path, SourceOptions(pattern=pattern), *wanted)
    assert message in str(error.value) and "Received: " in str(error.value) and "\n" not in str(error.value)


def test_a_file_or_nothing_is_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    for path in (tmp_path / "a.png", tmp_path / "none"):
        with pytest.raises(UserError, match="The input must be a folder that exists"):
            find(path)


def test_ranges_together_are_the_subset_and_a_changed_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(folder, *(f"{index % 7}/{index}.png" for index in range(30)))
    (subset,) = find(folder)
    pickled = pickle.loads(pickle.dumps(subset))
    parts = [SOURCE.read_annotations(pickled, start, start + 7, "left", PLAIN) for start in range(0, 30, 7)]
    assert [row for part in parts for row in part] == list(SOURCE.read_annotations(subset, 0, 30, "left", PLAIN))
    with pytest.raises(FileNotFoundError):
        SOURCE.read_picture(subset, "7/none.png")
    touch(folder, "8/new.png")
    assert find(folder)[0].annotations_sha256 != subset.annotations_sha256
    with pytest.raises(UserError, match="changed while the job ran"):
        list(SOURCE.read_annotations(subset, 0, 1, "left", PLAIN))


def test_a_folder_may_be_at_an_address() -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for name in ("train/0042/a.png", "train/7/b.png", "train/notes.txt"):
        system.pipe_file(f"/folders/{name}", name.encode())
    try:
        given = Input(Place("memory://folders"))
        (subset,) = SOURCE.find_subsets(given, PLAIN)
        rows = list(SOURCE.read_annotations(subset, 0, subset.entries, "left", PLAIN))
        assert [(row.name, row.text) for row in rows] == [("0042/a.png", "0042"), ("7/b.png", "7")]
        assert SOURCE.read_picture(subset, "7/b.png") == b"train/7/b.png"
        assert SOURCE.unread(given, (subset,), PLAIN) == ("memory://folders/train/**/*.txt",)
    finally:
        system.rm("/folders", recursive=True)
