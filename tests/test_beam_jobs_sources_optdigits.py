"""optdigits: genuine rows against scikit-learn's, every separator, and damage that is named line by line."""

import gzip
import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from beam_jobs.annotation import NO_ANNOTATION, Annotation
from beam_jobs.sources.base import Input, SourceOptions, Subset
from beam_jobs.sources.optdigits import MOST, SOURCE, STORED
from beam_jobs.sources.pixels import rows
from tests.real_data import data_folder
from tfrecords.errors import UserError
from tfrecords.files.place import Place

OPTIONS = SourceOptions()


def find(path: Path, *wanted: str) -> tuple[Subset, ...]:
    return SOURCE.find_subsets(Input(Place(path), wanted), OPTIONS)


def read(subset: Subset, start: int = 0, stop: int | None = None) -> list[Annotation]:
    stop = subset.entries if stop is None else stop
    return list(SOURCE.read_annotations(subset, start, stop, "left", OPTIONS))


def pixels(subset: Subset) -> NDArray[np.uint8]:
    return np.stack([SOURCE.read_picture(subset, annotation.name) for annotation in read(subset)])


def lines(count: int) -> list[str]:
    """Rows of different pixels; the digit of row i is i % 10."""
    values = np.random.default_rng(count).integers(0, MOST + 1, (count, 64))
    return [",".join(map(str, [*row, index % 10])) for index, row in enumerate(values.tolist())]


def write(path: Path, rows: list[str], end: str = "\n") -> Path:
    path.write_bytes("".join(row + end for row in rows).encode())
    return path


def test_the_map_of_counts_to_pixels_can_be_inverted() -> None:
    assert STORED.tolist() == [round(count * 255 / 16) for count in range(17)]
    assert [round(int(pixel) * 16 / 255) for pixel in STORED] == list(range(17))
    assert STORED[0] == 0 and STORED[16] == 255


def test_the_genuine_test_half_is_that_of_scikit_learn() -> None:
    # The file that load_digits() reads, in the same way: importing scikit-learn takes seconds.
    (package,) = find_spec("sklearn").submodule_search_locations  # type: ignore[union-attr,misc]
    theirs = np.loadtxt(Path(package, "datasets", "data", "digits.csv.gz"), delimiter=",")
    train, test = find(data_folder() / "optdigits")
    assert (train.name, train.entries, test.name, test.entries) == ("train", 3823, "test", 1797)
    assert [annotation.text for annotation in read(test)] == [str(int(label)) for label in theirs[:, 64]]
    np.testing.assert_array_equal(np.rint(pixels(test)[..., 0] * (16 / 255)), theirs[:, :64].reshape(-1, 8, 8))


def test_the_genuine_train_half_is_that_of_numpy() -> None:
    train, _ = find(data_folder() / "optdigits")
    theirs = np.loadtxt(data_folder() / "optdigits" / "optdigits.tra", np.int64, delimiter=",")
    assert [annotation.text for annotation in read(train)] == [str(label) for label in theirs[:, 64]]
    np.testing.assert_array_equal(np.rint(pixels(train)[..., 0] * (16 / 255)), theirs[:, :64].reshape(-1, 8, 8))
    assert SOURCE.unread(Input(Place(data_folder() / "optdigits")), find(data_folder() / "optdigits"), OPTIONS) == ()


def test_an_annotation_is_the_digit_without_boxes(tmp_path: Path) -> None:
    (subset,) = find(write(tmp_path / "optdigits.tes", lines(12)))
    assert read(subset, 11) == [Annotation("test", "00011", 11, "1")]
    picture = SOURCE.read_picture(subset, "00011")
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (8, 8, 1) and picture.dtype == np.uint8
    for name in ("00012", "11", "x", "-0001"):
        with pytest.raises(FileNotFoundError, match="no picture"):
            SOURCE.read_picture(subset, name)


def test_ranges_are_parts_of_the_whole_and_a_subset_can_be_pickled(tmp_path: Path) -> None:
    (subset,) = find(write(tmp_path / "optdigits.tra", lines(25)))
    copy = pickle.loads(pickle.dumps(subset))
    assert read(copy, 0, 10) + read(copy, 10, 11) + read(copy, 11, 25) == read(subset)


def as_semicolons(row: str) -> str:
    return row.replace(",", ";")


def as_columns(row: str) -> str:
    return "  " + "".join(f"{value:>4}" for value in row.split(",")) + " "


CHANGES: dict[str, Callable[[list[str]], bytes]] = {
    "CRLF": lambda rows: "\r\n".join(rows).encode(),
    "BOM": lambda rows: b"\xef\xbb\xbf" + "\n".join(rows).encode(),
    "tab": lambda rows: "\n".join(row.replace(",", "\t") for row in rows).encode(),
    "space": lambda rows: "\n".join(row.replace(",", " ") for row in rows).encode(),
    "semicolon": lambda rows: "\n".join(map(as_semicolons, rows)).encode(),
    "comma and space": lambda rows: "\n".join(row.replace(",", ", ") for row in rows).encode(),
    "columns of spaces": lambda rows: "\r\n".join(map(as_columns, rows)).encode(),
    "quotes": lambda rows: "\n".join('"' + row.replace(",", '","') + '"' for row in rows).encode(),
    "comments": lambda rows: "\n".join(["# by hand", "% as ARFF", rows[0], "", "  ", "#,", *rows[1:], "\n\n"]).encode(),
    "header": lambda rows: "\n".join([",".join([*(f"p{at}" for at in range(64)), "class"]), *rows]).encode(),
    "BOM, comment and header": lambda rows: (
        "\ufeff# digits\r\n\r\n" + ",".join(f"x{at}" for at in range(64)) + ",Class\r\n" + "\r\n".join(rows)
    ).encode(),
    "label first": lambda rows: "\n".join(
        [",".join(["label", *["p"] * 64]), *(",".join([row[-1], row[:-2]]) for row in rows)]
    ).encode(),
    "index and label": lambda rows: "\n".join(
        [",".join(["", *["p"] * 64, "target"]), *(f"{1000 + at},{row}" for at, row in enumerate(rows))]
    ).encode(),
    "gzip": lambda rows: gzip.compress("\n".join(rows).encode()),
    "leading zeros": lambda rows: "\n".join(
        ",".join(f"{int(value):05}" for value in row.split(",")) for row in rows
    ).encode(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_are_the_same_however_they_are_written(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks end between rows of any number.
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 500)
    written = lines(30)
    (plain,) = find(write(tmp_path / "plain.tra", written))
    other = tmp_path / "other.tra"
    other.write_bytes(CHANGES[change](written))
    (subset,) = find(other)
    assert read(subset) == read(plain)
    np.testing.assert_array_equal(pixels(subset), pixels(plain))


BAD_ROWS = {
    "a pixel above 16": ("1,17", "bad_pixel", "line 3: a pixel must be an integer 0..16. Received: '17' in column 2"),
    "a pixel below 0": ("1,-1", "bad_pixel", "'-1' in column 2"),
    "a fraction": ("1,2.0", "bad_pixel", "'2.0' in column 2"),
    "a word": ("1,\u00e9\x1b", "bad_pixel", "'\u00e9\\\\x1b' in column 2"),
    "an empty pixel": ("1,", "bad_pixel", "'' in column 2"),
    "a hexadecimal pixel": ("1,0x2", "bad_pixel", "'0x2' in column 2"),
    "a number of 5000 digits": ("1," + "9" * 5000, "bad_pixel", "'" + "9" * 40 + "' in column 2"),
    "one value more": ("1,2,3", "bad_row", "line 3: a row must have 65 values. Received: 66 values"),
    "one value less": ("1", "bad_row", "Received: 64 values"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_and_the_others_are_read(case: str, tmp_path: Path) -> None:
    values, reason, message = BAD_ROWS[case]
    written = lines(5)
    (plain,) = find(write(tmp_path / "plain.tra", written))
    written[2] = ",".join([values, *written[2].split(",")[2:]])
    (subset,) = find(write(tmp_path / "bad.tra", written))
    bad = read(subset)[2]
    assert bad.dead and (bad.name, bad.text, bad.dead.stage, bad.dead.reason) == ("00002", "", "annotation", reason)
    assert bad.dead.detail.startswith("train/00002: bad.tra, line 3: ") and bad.dead.detail.endswith(message)
    assert [each for each in read(subset) if each is not bad and each.index != 2] == [
        each for each in read(plain) if each.index != 2
    ]
    np.testing.assert_array_equal(np.delete(pixels(subset), 2, 0), np.delete(pixels(plain), 2, 0))


@pytest.mark.parametrize(
    ("label", "reason"), [("10", "bad_label"), ("x", "bad_label"), ("-1", "bad_label"), ("", NO_ANNOTATION)]
)
def test_a_bad_label_is_named(label: str, reason: str, tmp_path: Path) -> None:
    written = lines(5)
    written[3] = written[3][:-1] + label
    (subset,) = find(write(tmp_path / "optdigits.tra", written))
    dead = read(subset)[3].dead
    assert dead and dead.reason == reason and dead.detail.startswith("train/00003: optdigits.tra, line 4: ")
    assert dead.detail.endswith(f"Received: '{label}'")
    assert sum(annotation.dead is not None for annotation in read(subset)) == 1


def test_lines_are_counted_over_blocks_comments_and_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 500)
    written = lines(40)
    written[37] = written[37].replace(",", ",99,", 1)
    header = ",".join(["p"] * 64 + ["class"])
    (subset,) = find(write(tmp_path / "optdigits.tra", ["# a comment", header, "", *written], "\r\n"))
    dead = [annotation.dead.detail for annotation in read(subset) if annotation.dead]
    assert subset.entries == 40
    assert dead == ["train/00037: optdigits.tra, line 41: a row must have 65 values. Received: 66 values"]


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "must hold at least one"),
    "comments only": (b"# nothing\n\n", "must hold at least one"),
    "header only": (",".join(["p"] * 64 + ["class"]).encode(), "at least one below its header"),
    "no label": ("\n".join(["0," * 63 + "0"] * 3).encode(), "64 pixels and a label in a row. Received: 64 columns"),
    "MNIST": (b"1" + b",0" * 784, "Received: 785 columns"),
    "bitmaps": (("\n".join(["0" * 32] * 32) + "\n 7\n").encode(), r"bitmaps \(optdigits-orig\) are not read"),
    "UTF-16": ("\n".join(lines(3)).encode("utf-16"), "must be text in UTF-8"),
    "all bad": (
        "\n".join(row.replace("0", "x") for row in ["0," * 64 + "0"] * 3).encode(),
        "pixels and a label|no row",
    ),
    "all too large": ("\n".join(["99," * 64 + "0"] * 3).encode(), r"no row.*line 1: a pixel must be.*Received: '99'"),
    "cut gzip": (gzip.compress("\n".join(lines(50)).encode())[:900], "complete gzip file"),
    "damaged gzip": (gzip.compress(b"\n".join([b"1"] * 50))[:12] + b"\xff" * 50, "complete gzip file"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "Received: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    content, message = WRONG[case]
    path = tmp_path / "optdigits.tra"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        find(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value) and "Received: " in str(error.value)


def test_a_folder_or_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be a file or a folder that exists"):
        find(tmp_path / "none")
    with pytest.raises(UserError, match=r"must hold optdigits\.tra"):
        find(tmp_path)
    with pytest.raises(UserError, match="32x32 bitmaps, which are not read"):
        find(write(tmp_path / "optdigits-orig.tra", lines(3)))


def test_subsets_are_found_selected_and_renamed(tmp_path: Path) -> None:
    for name in ("optdigits.tra", "optdigits.tes", "digits_val.csv", "optdigits.names", "optdigits-orig.cv.Z"):
        write(tmp_path / name, lines(len(name)))
    write(tmp_path / "optdigits.tra.gz", lines(3))
    found = find(tmp_path)
    assert [(subset.name, subset.entries) for subset in found] == [("train", 13), ("val", 14), ("test", 13)]
    assert [subset.name for subset in find(tmp_path, "TEST", "train")] == ["train", "test"]
    assert [subset.name for subset in find(tmp_path / "optdigits.tra", "mine")] == ["mine"]
    assert [Path(path).name for path in SOURCE.unread(Input(Place(tmp_path)), found, OPTIONS)] == [
        "optdigits-orig.cv.Z",
        "optdigits.tra.gz",
    ]
    with pytest.raises(UserError, match=r"holds the subsets train, val, test\. Received: extra"):
        find(tmp_path, "extra")
    with pytest.raises(UserError, match="is one subset"):
        find(tmp_path / "optdigits.tra", "a", "b")
    with pytest.raises(UserError, match="letters, digits"):
        find(tmp_path / "optdigits.tra", "a/b")
    write(tmp_path / "second_test.data", lines(3))
    with pytest.raises(UserError, match="test is in several"):
        find(tmp_path)


def test_the_digest_is_of_the_content_and_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "optdigits.tra", lines(4))
    (before,) = find(path)
    assert find(path) == (before,)
    write(path, lines(5))
    (after,) = find(path)
    assert after.entries == 5 and after.annotations_sha256 != before.annotations_sha256
