"""Each source from files that another program wrote to records: one run of prepare each, and what it made."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.job import given
from beam_jobs.sources import SOURCES
from tests.real_data import data_folder
from tfrecords.cli import main
from tfrecords.dataset.manifest import Manifest
from tfrecords.record.schema import DigitExample

WRITTEN = Path(__file__).parent / "written_by"
METER = "0123456789."
BOX = ("--growth", "0", "--jitters", "0")
"""Options that store the box alone; with its height and its proportions as well, it is not resized."""
Texts = dict[str, dict[str, str]]


def exact(height: int, aspect: float) -> tuple[str, ...]:
    return (*BOX, "--crop-size", str(height), "--record-size", str(height), "--aspect", str(aspect))


def noise(path: Path, height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Writes a picture of random pixels, always the same for a name, and returns it."""
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, channels), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)
    return pixels


@dataclass(frozen=True)
class Case:
    """Files of one source, and what they must become.

    Attributes:
      source: Name of the source.
      write: Fills an empty folder, the input.
      texts: Text of each record by its key without the jitter, by split.
      dead: Number of dead letters by reason.
      longest: Largest number of characters.
      boxes: Whether the characters' boxes are known.
      options: More options of prepare.
      crop: Key of a record that is cut but not resized, and ymin, ymax, xmin, xmax of it.
      picture: File of that record's picture in the input.
      media: Folder of the pictures in the input, if prepare must be told.
    """

    source: str
    write: Callable[[Path], object]
    texts: Texts
    dead: dict[str, int]
    longest: int
    boxes: bool
    options: tuple[str, ...] = ()
    crop: tuple[str, tuple[int, int, int, int]] | None = None
    picture: str = ""
    media: str = ""


def coco(folder: Path) -> None:
    shutil.copytree(WRITTEN / "coco", folder, dirs_exist_ok=True)
    noise(folder / "images" / "val" / "other.png", 48, 96)


def yolo(folder: Path) -> None:
    shutil.copytree(WRITTEN / "yolo" / "yolo_ultralytics", folder, dirs_exist_ok=True)
    noise(folder / "images" / "val" / "other.png", 48, 96)


def voc(folder: Path) -> None:
    shutil.copytree(WRITTEN / "voc", folder, dirs_exist_ok=True)
    for name in ("a/1", "b 2", "c"):
        noise(folder / "JPEGImages" / f"{name}.png", 40, 48)


def cvat(folder: Path) -> None:
    shutil.copytree(WRITTEN / "cvat", folder, dirs_exist_ok=True)
    for name in ("a/1", "b 2", "c"):
        noise(folder / "images" / f"{name}.png", 40, 48)


def label_studio(folder: Path) -> None:
    tasks = json.loads((WRITTEN / "label_studio" / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps(tasks))
    for name in {task["file_upload"] for task in tasks if task["file_upload"]}:
        noise(folder / "media" / "upload" / "1" / name, 480, 640)


def table(folder: Path) -> None:
    rows = [
        ("images/a 1.png", "0008", 4, 6, 20, 10, "train"),
        ("images/b.png", "12.5", 0, 0, 20, 10, "train"),
        ("images/b.png", "7", 30, 5, 10, 5, "train"),
        ("images/gone.png", "1", 0, 0, 5, 5, "dev"),
        ("images/c.png", "3,5", 0, 0, 5, 5, "test"),
        ("images/c.png", "00.10", 8, 8, 20, 10, "test"),
    ]
    for name in ("a 1", "b", "c"):
        noise(folder / "images" / f"{name}.png", 40, 48)
    columns = ["file_name", "text", "left", "top", "width", "height", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "labels.csv", sep=";", index=False)


def parquet(folder: Path) -> None:
    for split, texts in (("train", ["0042", "7"]), ("test", ["12.5"])):
        cells = []
        for index in range(len(texts)):
            noise(folder / "a.png", 30, 30)
            cells.append({"bytes": (folder / "a.png").read_bytes(), "path": f"{index}.png"})
        (folder / "data").mkdir(exist_ok=True)
        frame = pd.DataFrame({"image": cells, "label": texts})
        frame.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    (folder / "a.png").unlink()


def image_folder(folder: Path) -> None:
    for name in ("train/0008/a.png", "train/12.5/b c.png", "valid/7/a.png", "test/7/d.jpg", "test/stray.png"):
        noise(folder / name, 30, 30)


def kaggle(folder: Path) -> None:
    """Writes Kaggle's digit recognizer: train.csv, and test.csv without labels."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 784), np.uint8)
    frame = pd.DataFrame(pixels, columns=[f"pixel{index}" for index in range(784)])
    frame.iloc[3:].to_csv(folder / "test.csv", index=False)
    frame.iloc[:3].assign(label=[7, 0, 12])[["label", *frame.columns]].to_csv(folder / "train.csv", index=False)
    Image.fromarray(pixels[1].reshape(28, 28)).save(folder / "1.png")


def optdigits(folder: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 17, (4, 64))
    np.savetxt(folder / "optdigits.tra", np.c_[rows[:2], [4, 0]], fmt="%d", delimiter=",")
    np.savetxt(folder / "optdigits.tes", np.c_[rows[2:], [10, 9]], fmt="%d", delimiter=",")
    Image.fromarray(np.rint(rows[0] * 255 / 16).astype(np.uint8).reshape(8, 8)).save(folder / "0.png")


CASES = {
    "coco": Case(
        "coco",
        coco,
        {
            "train": {"train/one.png": "70", "train/two numbers.png@1": "12", "train/two numbers.png@2": "34"},
            "validation": {"val/other.png": "9"},
        },
        {"no_annotation": 1},
        longest=2,
        boxes=True,
        options=exact(20, 0.5),
        crop=("val/other.png", (5, 25, 5, 15)),
        picture="images/val/other.png",
    ),
    "yolo": Case(
        "yolo",
        yolo,
        {"train": {"train/images/train/one.png": "70"}, "validation": {"val/images/val/other.png": "9"}},
        {"no_annotation": 1},
        longest=2,
        boxes=True,
        options=exact(20, 0.5),
        crop=("val/images/val/other.png", (5, 25, 5, 15)),
        picture="images/val/other.png",
    ),
    "voc": Case(
        "voc",
        voc,
        {"train": {"train/b 2.png": "12.5"}, "test": {"test/a/1.png@1": "0042", "test/a/1.png@2": "7"}},
        {"no_annotation": 1},
        longest=4,
        boxes=True,
        options=("--alphabet", METER, *exact(20, 2)),
        crop=("train/b 2.png", (1, 21, 0, 40)),
        picture="JPEGImages/b 2.png",
    ),
    "cvat": Case(
        "cvat",
        cvat,
        {"train": {"train/b 2.png": "12.5"}, "test": {"test/a/1.png@1": "0042", "test/a/1.png@2": "7"}},
        {"no_annotation": 1},
        longest=4,
        boxes=False,
        options=("--alphabet", METER, *exact(20, 2)),
        crop=("train/b 2.png", (1, 21, 0, 40)),
        picture="images/b 2.png",
    ),
    "label-studio": Case(
        "label-studio",
        label_studio,
        {
            "train": {
                "train/1/ab12cd34-7.png": "0042",
                "train/1/cd34ab12-b%202.png@1": "12.5",
                "train/1/cd34ab12-b%202.png@2": "7",
            }
        },
        {"no_annotation": 1},
        longest=4,
        boxes=False,
        options=("--alphabet", METER, *exact(144, 128 / 144)),
        crop=("train/1/cd34ab12-b%202.png@1", (48, 192, 64, 192)),
        picture="media/upload/1/cd34ab12-b%202.png",
        media="media",
    ),
    "table": Case(
        "table",
        table,
        {
            "train": {"train/images/a 1.png": "0008", "train/images/b.png@1": "12.5", "train/images/b.png@2": "7"},
            "validation": {},
            "test": {"test/images/c.png@2": "00.10"},
        },
        {"missing_picture": 1, "unknown_character": 1},
        longest=5,
        boxes=False,
        options=("--alphabet", METER, "--max-dead-fraction", "0.5", *exact(10, 2)),
        crop=("train/images/a 1.png", (6, 16, 4, 24)),
        picture="images/a 1.png",
    ),
    "table, Parquet of pictures": Case(
        "table",
        parquet,
        {"train": {"train/0/0.png": "0042", "train/1/1.png": "7"}, "test": {"test/0/0.png": "12.5"}},
        {},
        longest=4,
        boxes=False,
        options=("--alphabet", METER, "--record-size", "30"),
    ),
    "image-folder": Case(
        "image-folder",
        image_folder,
        {
            "train": {"train/0008/a.png": "0008", "train/12.5/b c.png": "12.5"},
            "validation": {"valid/7/a.png": "7"},
            "test": {"test/7/d.jpg": "7"},
        },
        {"no_match": 1},
        longest=4,
        boxes=False,
        options=("--alphabet", METER, "--max-dead-fraction", "0.5", "--record-size", "30"),
        crop=("train/0008/a.png", (0, 30, 0, 30)),
        picture="train/0008/a.png",
    ),
    "mnist": Case(
        "mnist",
        kaggle,
        {
            "train": {"train/00000": "7", "train/00001": "0"},
            "predict": {"predict/00000": "", "predict/00001": ""},
        },
        {"bad_label": 1},
        longest=1,
        boxes=False,
        options=("--max-dead-fraction", "0.5"),
        crop=("train/00001", (0, 28, 0, 28)),
        picture="1.png",
    ),
    "optdigits": Case(
        "optdigits",
        optdigits,
        {"train": {"train/00000": "4", "train/00001": "0"}, "test": {"test/00001": "9"}},
        {"bad_label": 1},
        longest=1,
        boxes=False,
        options=("--max-dead-fraction", "0.5"),
        crop=("train/00000", (0, 8, 0, 8)),
        picture="0.png",
    ),
}


def prepare(case: Case, folder: Path, output: Path, *options: str) -> int:
    media = ["--media-root", str(folder / case.media)] if case.media else []
    words = ["--source", case.source, "--input", str(folder), "--output", str(output), *media]
    words += ["--validation-fraction", "0", "--max-dead-fraction", "0", *case.options, *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *words])


def read(output: Path) -> Iterator[tuple[str, DigitExample]]:
    """Yields the split and each example of a dataset."""
    for split in Manifest.load(output).splits:
        for example in tfrecords.open(str(output), split):
            yield split, example


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path, Path]:
    """The case, its input and the dataset that prepare made of it."""
    case, root = CASES[request.param], tmp_path_factory.mktemp("made")
    (root / "input").mkdir()
    case.write(root / "input")
    assert prepare(case, root / "input", root / "records") == 0
    return case, root / "input", root / "records"


def test_every_source_but_svhn_is_here() -> None:
    assert {case.source for case in CASES.values()} == set(SOURCES) - {"svhn"}


def test_files_of_another_program_become_records(made: tuple[Case, Path, Path]) -> None:
    case, folder, output = made
    manifest = Manifest.load(output)
    texts: Texts = {split: {} for split in manifest.splits}
    pixels = {}
    for split, example in read(output):
        key = example.key.removesuffix("#0")
        texts[split][key], pixels[key] = example.text, example.image
        # A number that is not known has no character, so none whose box is not known.
        assert example.has_digit_boxes is (case.boxes or split == "predict")
        assert bool(example.boxes.any()) is case.boxes
    assert texts == case.texts
    assert manifest.dead_letters == case.dead
    assert manifest.labels.max_length == case.longest
    if case.crop:
        key, (ymin, ymax, xmin, xmax) = case.crop
        theirs = np.asarray(Image.open(folder / case.picture))
        theirs = theirs if theirs.ndim == 3 else theirs[..., np.newaxis]
        np.testing.assert_array_equal(pixels[key], theirs[ymin:ymax, xmin:xmax])


@pytest.mark.parametrize("made", ["coco", "cvat", "label-studio"], indirect=True)
def test_ranges_and_workers_do_not_change_a_byte(
    made: tuple[Case, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, folder, output = made
    monkeypatch.setattr(given, "_ENTRIES_PER_RANGE", 1)
    workers = ("--direct_running_mode", "multi_threading", "--direct_num_workers", "2")
    assert prepare(case, folder, tmp_path / "again", *workers) == 0
    assert contents(tmp_path / "again") == contents(output)


@pytest.mark.parametrize("made", ["table"], indirect=True)
def test_two_processes_do_not_change_a_byte(made: tuple[Case, Path, Path], tmp_path: Path) -> None:
    case, folder, output = made
    workers = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")
    assert prepare(case, folder, tmp_path / "two", *workers) == 0
    assert contents(tmp_path / "two") == contents(output)


def contents(output: Path) -> dict[str, bytes]:
    """Returns the bytes of all files of a dataset."""
    return {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}


# --- genuine files ------------------------------------------------------------------------------


def genuine(source: str, subset: str, output: Path, *options: str) -> dict[int, tuple[int, NDArray[np.uint8]]]:
    """Returns label and pixels by the position in the file, as records of the genuine data have them."""
    words = ["--source", source, "--input", str(data_folder() / source), "--subsets", subset, "--output", str(output)]
    assert main("beam_jobs", "", COMMANDS, ["prepare", *words, *options]) == 0
    found = {}
    for _, example in read(output):
        assert example.length == 1 and example.text == str(example.digits[0])
        index = int(example.key.removeprefix(f"{subset}/").removesuffix("#0"))
        found[index] = (int(example.text), example.image[..., 0])
    assert not Manifest.load(output).dead_letters
    return found


def idx(name: str, header: int) -> NDArray[np.uint8]:
    """Returns the bytes of a file of MNIST behind its header, as its page describes it."""
    return np.frombuffer(gzip.decompress((data_folder() / "mnist" / name).read_bytes()), np.uint8, offset=header)


def test_genuine_mnist_is_that_of_a_plain_reading(tmp_path: Path) -> None:
    found = genuine("mnist", "test", tmp_path / "records", "--limit", "300")
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)
    pixels = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    assert len(found) == 300
    for index, (label, image) in found.items():
        assert label == labels[index]
        np.testing.assert_array_equal(image, pixels[index])


def test_genuine_optdigits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    found = genuine("optdigits", "test", tmp_path / "records", "--limit", "300")
    assert len(found) == 300
    for index, (label, image) in found.items():
        assert label == theirs.target[index]
        np.testing.assert_array_equal(np.rint(image / 255 * 16), theirs.images[index])
