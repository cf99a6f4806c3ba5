"""MNIST in its shapes: genuine idx files against a plain reading, npz as Keras reads it, CSV as pandas writes it."""

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from beam_jobs.annotation import Annotation
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.sources.mnist.idx import IdxName, idx_name
from beam_jobs.sources.mnist.source import SOURCE
from tests.real_data import data_folder
from tfrecords.errors import UserError
from tfrecords.files.place import Place

OPTIONS = SourceOptions()
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10
TEXTS = [str(label) for label in LABELS]


def find(path: Path, *wanted: str) -> tuple[Subset, ...]:
    return SOURCE.find_subsets(Input(Place(path), wanted), OPTIONS)


def find_one(path: Path) -> Subset:
    (subset,) = find(path)
    return subset


def read(subset: Subset, start: int = 0, stop: int | None = None) -> list[Annotation]:
    stop = subset.entries if stop is None else stop
    return list(SOURCE.read_annotations(subset, start, stop, "left", OPTIONS))


def texts(subset: Subset) -> list[str]:
    return [annotation.text for annotation in read(subset)]


def pixels(subset: Subset) -> NDArray[np.uint8]:
    return np.stack([SOURCE.read_picture(subset, annotation.name) for annotation in read(subset)])


def idx(array: NDArray, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def save_idx(folder: Path, prefix: str = "train-", ending: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in ((f"{prefix}images-idx3-ubyte", IMAGES), (f"{prefix}labels-idx1-ubyte", LABELS)):
        content = idx(array)
        (folder / f"{name}{ending}").write_bytes(gzip.compress(content) if ending else content)
    return folder


def save_csv(path: Path, label: bool = True, header: bool = True, images: NDArray = IMAGES) -> Path:
    """A CSV file as pandas writes it."""
    import pandas as pd

    table = pd.DataFrame(images.reshape(len(images), -1), columns=[f"pixel{at}" for at in range(images[0].size)])
    if label:
        table.insert(0, "label", LABELS[: len(images)])
    table.to_csv(path, index=False, header=header)
    return path


def check(subset: Subset, labelled: bool = True) -> None:
    assert texts(subset) == (TEXTS if labelled else [""] * len(TEXTS))
    np.testing.assert_array_equal(pixels(subset)[..., 0], IMAGES)


def saved(name: str, content: bytes) -> Callable[[Path], Path]:
    """Makes a folder with one file."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder

    return make


def encrypted(archive: bytes) -> bytes:
    """An archive whose directory says that its members are encrypted (APPNOTE.TXT, 4.3.12: byte 8, bit 0)."""
    parts = archive.split(b"PK\1\2")
    return b"PK\1\2".join([parts[0], *(part[:4] + bytes([part[4] | 1]) + part[5:] for part in parts[1:])])


def npz(**arrays: NDArray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=True, **arrays)
    return stream.getvalue()


def npy(array: NDArray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# --- genuine files -----------------------------------------------------------------------------


def test_the_genuine_files_are_those_of_a_plain_reading() -> None:
    folder = data_folder() / "mnist"
    found = find(folder)
    assert [(subset.name, subset.entries) for subset in found] == [("train", 35985), ("test", 10000)]
    assert SOURCE.unread(Input(Place(folder)), found, OPTIONS) == ()
    for subset, prefix in zip(found, ("train", "t10k"), strict=True):
        images = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
        assert struct.unpack(">2I", labels[:8]) == (2049, subset.entries)
        assert struct.unpack(">4I", images[:16]) == (2051, subset.entries, 28, 28)
        assert "".join(texts(subset)) == "".join(map(str, labels[8:]))
        some = list(range(0, subset.entries, 41))
        expected = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)[some]
        np.testing.assert_array_equal([SOURCE.read_picture(subset, f"{index:05}") for index in some], expected)
    assert texts(found[1])[:5] == ["7", "2", "1", "0", "4"]


def test_genuine_pictures_are_the_same_as_idx_npz_and_csv(tmp_path: Path) -> None:
    import pandas as pd

    folder = data_folder() / "mnist"
    (genuine,) = find(folder / "t10k-images-idx3-ubyte.gz")
    count = 300
    images = pixels(genuine)[:count, ..., 0]
    labels = np.array(texts(genuine)[:count], np.uint8)
    # As the script that made Keras's file: np.savez of x and y.
    np.savez_compressed(tmp_path / "mnist.npz", x_test=images, y_test=labels)
    table = pd.DataFrame(images.reshape(count, -1)).rename(columns="pixel{}".format)
    table.insert(0, "label", labels)
    table.to_csv(tmp_path / "mnist_test.csv", index=False)
    for name in ("mnist.npz", "mnist_test.csv"):
        (subset,) = find(tmp_path / name)
        assert subset.name == "test"
        np.testing.assert_array_equal(pixels(subset)[..., 0], images)
        assert texts(subset) == texts(genuine)[:count]


# --- shapes ------------------------------------------------------------------------------------


def test_an_annotation_is_the_digit_without_boxes(tmp_path: Path) -> None:
    (subset,) = find(save_idx(tmp_path))
    assert read(subset, 11) == [Annotation("train", "00011", 11, "1")]
    picture = SOURCE.read_picture(subset, "00011")
    assert isinstance(picture, np.ndarray) and not isinstance(picture, np.memmap)
    assert picture.shape == (6, 6, 1) and picture.dtype == np.uint8
    with pytest.raises(FileNotFoundError, match="no picture"):
        SOURCE.read_picture(subset, "00012")


def test_ranges_are_parts_of_the_whole_and_a_subset_can_be_pickled(tmp_path: Path) -> None:
    (subset,) = find(save_csv(tmp_path / "train.csv"))
    copy = pickle.loads(pickle.dumps(subset))
    assert read(copy, 0, 5) + read(copy, 5, 6) + read(copy, 6, 12) == read(subset)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train-images-idx3-ubyte", ("", "train", "images")),
        ("train-images-idx3-ubyte.gz", ("", "train", "images")),
        ("train-images.idx3-ubyte", ("", "train", "images")),
        ("t10k-labels-idx1-ubyte", ("", "test", "labels")),
        ("t10k-labels.idx1-ubyte", ("", "test", "labels")),
        ("emnist-digits-train-images-idx3-ubyte.gz", ("emnist-digits-", "train", "images")),
        ("emnist-mnist-test-labels-idx1-ubyte", ("emnist-mnist-", "test", "labels")),
        ("qmnist-test-labels-idx2-int.gz", ("qmnist-", "test", "labels")),
        ("validation_images.idx3", ("", "validation", "images")),
        ("images-idx3-ubyte", ("", "train", "images")),
        ("train-images.csv", None),
        ("train-images", None),
        ("train-images-idx3-ubyte.png", None),
    ],
)
def test_names_of_idx_files(name: str, expected: tuple[str, str, str] | None) -> None:
    assert idx_name(name) == (IdxName(*expected) if expected else None)


SHAPES: dict[str, Callable[[Path], Path]] = {
    "idx": save_idx,
    "idx.gz": lambda path: save_idx(path, ending=".gz"),
    "torchvision": lambda path: save_idx(path / "raw").parent,
    "npz": saved("mnist.npz", npz(x_train=IMAGES, y_train=LABELS)),
    "npz of int64 labels": saved("m.npz", npz(x_train=IMAGES[..., None], y_train=LABELS.astype(np.int64))),
    "Kaggle": lambda path: save_csv(path / "train.csv").parent,
    "headerless": lambda path: save_csv(path / "mnist_train.csv", header=False).parent,
    "csv.gz": lambda path: save_csv(path / "train.csv.gz").parent,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_pictures(shape: str, tmp_path: Path) -> None:
    (subset,) = find(SHAPES[shape](tmp_path))
    assert subset.name == "train"
    check(subset)


def test_a_plain_file_is_read_whatever_its_name_says_of_gzip(tmp_path: Path) -> None:
    (save_idx(tmp_path) / "train-images-idx3-ubyte").rename(tmp_path / "train-images-idx3-ubyte.gz")
    check(find_one(tmp_path))


def test_links_to_files_of_other_names_are_read_by_their_own(tmp_path: Path) -> None:
    for at, path in enumerate(save_idx(tmp_path / "blobs", "emnist-digits-test-").iterdir()):
        (tmp_path / path.name).symlink_to(path.rename(path.with_name(f"{at}")))
    for given in (tmp_path, tmp_path / "emnist-digits-test-labels-idx1-ubyte"):
        (subset,) = find(given)
        assert subset.name == "test"
        np.testing.assert_array_equal(pixels(subset)[..., 0], IMAGES.transpose(0, 2, 1))
    save_csv(tmp_path / "3")
    (tmp_path / "test.csv").symlink_to("3")
    assert find(tmp_path / "test.csv")[0].name == "test"


def test_pictures_need_not_be_square_in_idx(tmp_path: Path) -> None:
    save_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES.reshape(12, 4, 9)))
    np.testing.assert_array_equal(pixels(find_one(tmp_path))[..., 0], IMAGES.reshape(12, 4, 9))


def test_emnist_is_turned_upright(tmp_path: Path) -> None:
    (subset,) = find(save_idx(tmp_path, "emnist-digits-test-", ".gz"))
    assert subset.name == "test" and texts(subset) == TEXTS
    np.testing.assert_array_equal(pixels(subset)[..., 0], IMAGES.transpose(0, 2, 1))


def test_qmnist_has_the_class_in_the_first_of_its_columns(tmp_path: Path) -> None:
    save_idx(tmp_path, "qmnist-test-")
    (tmp_path / "qmnist-test-labels-idx1-ubyte").unlink()
    columns = np.column_stack([LABELS, *[np.arange(12) + 1000] * 7]).astype(">i4")
    (tmp_path / "qmnist-test-labels-idx2-int").write_bytes(idx(columns, 0x0C))
    check(find_one(tmp_path))


def test_pictures_without_labels_are_to_be_predicted(tmp_path: Path) -> None:
    save_csv(tmp_path / "train.csv")
    save_csv(tmp_path / "test.csv", label=False)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n2,0\n")
    train, predict = found = find(tmp_path)
    assert (train.name, predict.name, predict.entries) == ("train", "predict", 12)
    check(predict, labelled=False)
    assert all(annotation.dead is None for annotation in read(predict))
    assert SOURCE.unread(Input(Place(tmp_path)), found, OPTIONS) == (str(tmp_path / "sample_submission.csv"),)
    # As Kaggle's Kannada MNIST: an index and no label.
    rows = (tmp_path / "test.csv").read_text().splitlines()
    (tmp_path / "test.csv").write_text("\n".join(f"{at or 'id'},{row}" for at, row in enumerate(rows)))
    check(find(tmp_path)[1], labelled=False)
    save_csv(tmp_path / "headerless_test.csv", label=False, header=False)
    check(find_one(tmp_path / "headerless_test.csv"), labelled=False)
    with pytest.raises(UserError, match=r"has no labels, so that its subset must be predict\. Received: test"):
        find(tmp_path / "test.csv", "test")
    with pytest.raises(UserError, match="predict is in several"):
        find(tmp_path)


def test_an_address_is_read_as_a_folder_is(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in save_idx(tmp_path).iterdir():
        memory.pipe(f"/mnist/{path.name}", path.read_bytes())
    memory.pipe("/mnist/t10k.csv", save_csv(tmp_path / "x.csv", label=False).read_bytes())
    train, predict = SOURCE.find_subsets(Input(Place("memory://mnist")), OPTIONS)
    check(train)
    check(predict, labelled=False)


def test_subsets_are_found_selected_and_renamed(tmp_path: Path) -> None:
    save_idx(tmp_path)
    save_idx(tmp_path, "t10k-")
    save_idx(tmp_path, "train-", ".gz")
    save_idx(tmp_path / "more", "val-")
    found = find(tmp_path)
    assert [subset.name for subset in found] == ["train", "test"]
    assert SOURCE.unread(Input(Place(tmp_path)), found, OPTIONS) == (str(tmp_path / "more/val-labels-idx1-ubyte"),)
    assert [subset.name for subset in find(tmp_path, "Test", "train")] == ["train", "test"]
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte.gz"):
        check(find_one(tmp_path / name))
        assert [subset.name for subset in find(tmp_path / name, "mine")] == ["mine"]
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    assert [subset.name for subset in find(tmp_path / "mnist.npz")] == ["train", "test"]
    assert [subset.name for subset in find(tmp_path / "mnist.npz", "test")] == ["test"]
    with pytest.raises(UserError, match=r"train is in several.*train-labels.*mnist\.npz"):
        find(tmp_path)
    with pytest.raises(UserError, match=r"holds the subsets train, test\. Received: extra"):
        find(tmp_path / "mnist.npz", "extra")
    with pytest.raises(UserError, match="is one subset"):
        find(tmp_path / "t10k-images-idx3-ubyte", "a", "b")


def test_the_digest_is_of_pixels_and_labels(tmp_path: Path) -> None:
    (before,) = find(save_idx(tmp_path))
    digests = {before.annotations_sha256}
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        content = bytearray((tmp_path / name).read_bytes())
        content[-1] ^= 1
        (tmp_path / name).write_bytes(content)
        digests.add(find(tmp_path)[0].annotations_sha256)
    assert len(digests) == 3


# --- damage ------------------------------------------------------------------------------------


def test_labels_that_are_no_digits_become_dead_letters(tmp_path: Path) -> None:
    save_idx(tmp_path)
    labels = LABELS.copy()
    labels[[3, 7]] = 10, 255
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES, y_train=np.where(labels == 10, -1, labels.astype(np.int64)))
    for name, wrong in (("train-images-idx3-ubyte", "10"), ("mnist.npz", "-1")):
        annotations = read(find_one(tmp_path / name))
        dead = {each.name: each.dead for each in annotations if each.dead}
        assert list(dead) == ["00003", "00007"] and {each.reason for each in dead.values()} == {"bad_label"}
        assert dead["00003"].detail.startswith("train/00003: picture 3 of ")
        assert dead["00003"].detail.endswith(f"a label must be one of 0..9. Received: {wrong}")
        assert [each.text for each in annotations if not each.dead] == TEXTS[:3] + TEXTS[4:7] + TEXTS[8:]


def test_bad_rows_of_csv_become_dead_letters(tmp_path: Path) -> None:
    rows = save_csv(tmp_path / "train.csv").read_text().splitlines()
    change = {1: "11", 3: "1.0", 4: "one", 5: ""}
    for at, label in change.items():
        rows[at] = label + rows[at][1:]
    rows[6] = rows[6].rpartition(",")[0] + ",256"
    rows[7] = rows[7].rpartition(",")[0] + ",0.5"
    rows[8] = rows[8].rpartition(",")[0]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    dead = {each.index: each.dead for each in read(find_one(tmp_path)) if each.dead}
    assert {index: letter.reason for index, letter in dead.items()} == {
        0: "bad_label",
        2: "bad_label",
        3: "bad_label",
        4: "no_annotation",
        5: "bad_pixel",
        6: "bad_pixel",
        7: "bad_row",
    }
    assert dead[5].detail == (
        "train/00005: train.csv, line 7: a pixel must be an integer 0..255. Received: '256' in column 37"
    )


def replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """Makes a folder of idx files with one changed."""

    def make(folder: Path) -> Path:
        path = save_idx(folder) / f"train-{name}"
        path.write_bytes(change(path.read_bytes()))
        return folder

    return make


def without(name: str) -> Callable[[Path], Path]:
    """Makes a folder of idx files without one."""

    def make(folder: Path) -> Path:
        (save_idx(folder) / f"train-{name}").unlink()
        return folder

    return make


def archive(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x_train.npy", content)
        file.writestr("y_train.npy", content)
    return stream.getvalue()


I3, L1 = "images-idx3-ubyte", "labels-idx1-ubyte"
OBJECTS = np.array([None], object)
WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no labels": (without(L1), "must have its labels next to it, in a file named alike: train-labels-idx1-ubyte"),
    "no images": (without(I3), "must have its images next to it"),
    "fewer labels": (replaced(L1, lambda _: idx(LABELS[:-1])), "for each image. Received: 11 labels, 12 images"),
    "cut images": (replaced(I3, lambda data: data[:-1]), "must be complete: 432 bytes for 12x6x6.*Received: 431 bytes"),
    "cut labels": (replaced(L1, lambda data: data[:-1]), "must be complete: 12 bytes"),
    "cut header": (replaced(I3, lambda data: data[:9]), "header ends early. Received: 9 bytes"),
    "more bytes": (replaced(I3, lambda data: data + b"\0"), "must end after 432 bytes"),
    "more bytes in gzip": (replaced(I3, lambda data: gzip.compress(data + b"\0")), "must end after 432 bytes"),
    "cut gzip": (replaced(I3, lambda data: gzip.compress(data)[:-20]), "must be a complete gzip file"),
    "wrong sum in gzip": (
        replaced(I3, lambda data: gzip.compress(data)[:-8] + b"\1" * 8),
        "must be a complete gzip file.*CRC",
    ),
    "wrong magic": (replaced(I3, lambda data: b"\1" + data[1:]), "must be an idx file.*Received: 01 00 08 03"),
    "a page in HTML": (replaced(I3, lambda _: b"<html>403"), "must be an idx file.*Received: 3c 68 74 6d"),
    "empty": (replaced(I3, lambda _: b""), "Received: an empty file"),
    "wrong type": (
        replaced(I3, lambda data: data[:2] + b"\x0d" + data[3:]),
        "unsigned bytes.*type 0x0d in 3 dimensions",
    ),
    "labels for images": (replaced(I3, lambda _: idx(LABELS)), "type 0x08 in 1 dimensions"),
    "images for labels": (replaced(L1, lambda _: idx(IMAGES)), "type 0x08 in 3 dimensions"),
    "no image": (replaced(I3, lambda _: idx(IMAGES[:0])), "at least one image"),
    "no pixel": (replaced(I3, lambda _: idx(IMAGES[:, :0])), "at least one pixel"),
    "more than memory": (
        replaced(I3, lambda data: gzip.compress(data[:4] + b"\xff" * 12 + data[16:])),
        "must be complete.*Received: 432 bytes",
    ),
    "no known file": (saved("digits.mat", b""), r"must hold idx files.*mnist\.npz.*CSV"),
    "cut npz": (saved("mnist.npz", npz(x_train=IMAGES, y_train=LABELS)[:-300]), "must be a complete .npz archive"),
    "damaged npz": (saved("mnist.npz", archive(b"x" * 99)), "must be a complete .npz archive|must be .images"),
    "more than memory in npz": (
        saved(
            "mnist.npz", npz(x_train=IMAGES, y_train=LABELS).replace(b"(12, 6, 6), }      ", b"(9999999999, 99, 9)}", 1)
        ),
        "must be a complete .npz archive",
    ),
    "encrypted npz": (
        saved("mnist.npz", encrypted(npz(x_train=IMAGES, y_train=LABELS))),
        "must be a complete .npz archive.*encrypted",
    ),
    "names of line breaks": (saved("mnist.npz", npz(**{"x_a\nb": IMAGES})), r"pairs of arrays.*Received: x_a\\nb"),
    "names that are no keys": (saved("mnist.npz", npz(**{"x_a/b": IMAGES, "y_a/b": LABELS})), "pairs of arrays.*x_a/b"),
    "objects": (saved("mnist.npz", npz(x_train=OBJECTS, y_train=LABELS)), "must be a complete .npz archive.*Object"),
    "one array": (saved("mnist.npz", npy(IMAGES)), "one array"),
    "npz without labels": (saved("mnist.npz", npz(x_train=IMAGES)), "pairs of arrays: x_train and y_train.*: x_train"),
    "npz of other arrays": (saved("mnist.npz", npz(a=IMAGES)), "pairs of arrays.*Received: a"),
    "npz of floats": (saved("mnist.npz", npz(x_train=IMAGES / 255, y_train=LABELS)), r"uint8.*\(12, 6, 6\) float64"),
    "npz of one-hot labels": (saved("mnist.npz", npz(x_train=IMAGES, y_train=np.eye(12))), r"integers.*\(12, 12\)"),
    "npz of fewer labels": (saved("m.npz", npz(x_train=IMAGES, y_train=LABELS[1:])), "11 labels, 12 images"),
    "CSV not square": (saved("train.csv", b"label,a,b,c\n1,2,3,4\n"), "square picture.*Received: 3 columns of pixels"),
    "CSV without a label's name": (
        saved("train.csv", b"what,a,b,c,d\n1,2,3,4,5\n"),
        "No column is named label. Received: 5",
    ),
    "CSV of words": (saved("train.csv", b"label,a,b,c,d\nx,y,z,u,v\n"), "no row that is a picture.*'y' in column 2"),
    "empty CSV": (saved("train.csv", b""), "must hold at least one"),
    "CSV of zero bytes": (saved("train.csv", b"\0" * 99), "must be text in UTF-8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    make, message = WRONG[case]
    with pytest.raises(UserError, match=message) as error:
        find(make(tmp_path))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value) and "Received: " in str(error.value)


def test_an_input_that_cannot_be_chosen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be a file or a folder that exists"):
        find(tmp_path / "none")
    (tmp_path / "notes.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match="must be a folder or a file of idx files"):
        find(tmp_path / "notes.json")
    save_idx(tmp_path / "a")
    save_idx(tmp_path / "b")
    with pytest.raises(UserError, match=r"must hold one folder of files that are known.*Received: a, b"):
        find(tmp_path)
    save_idx(tmp_path / "a", "emnist-letters-train-")
    with pytest.raises(UserError, match="train is in several"):
        find(tmp_path / "a")
    (tmp_path / "b/train-images.idx3-ubyte").write_bytes(idx(IMAGES))
    with pytest.raises(UserError, match="one file of images for each subset"):
        find(tmp_path / "b")
