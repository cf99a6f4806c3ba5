"""Wrong inputs, outputs and options of prepare: one line that ends with what was received, and nothing made."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tests.real_data import data_folder
from tfrecords.cli import main

FILE_NAME = "digitStruct.mat"


def make_source(folder: Path) -> Path:
    """A source with the one subset train, of one picture; returns its digitStruct.mat."""
    (folder / "train").mkdir(parents=True)
    Image.new("RGB", (64, 64), (90, 80, 70)).save(folder / "train" / "1.png")
    write_digit_struct(folder / "train" / FILE_NAME, ["1.png"], [(DigitBox(1, 5, 5, 20, 40),)])
    return folder / "train" / FILE_NAME


@pytest.fixture
def source(tmp_path: Path) -> Path:
    make_source(tmp_path / "svhn")
    return tmp_path / "svhn"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def arguments(source: Path, output: Path | str, *options: str) -> list[str]:
    return ["prepare", "--source", "svhn", "--input", str(source), "--output", str(output), *options]


def error_of(capsys: pytest.CaptureFixture[str], argv: list[str], unchanged: Path) -> str:
    """Runs a job that must end with one line and leave the files below `unchanged` as they are; returns the line."""
    before = files_below(unchanged)
    assert main("beam_jobs", "", COMMANDS, argv) == 1
    assert files_below(unchanged) == before
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if line.strip() and not line.startswith("prepare: ")]
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("error: ") and "Traceback" not in printed.err
    return lines[0]


# --- inputs -------------------------------------------------------------------------------------

INPUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda path: None, "The input must be a folder that exists."),
    "a file": (lambda path: path.write_text("svhn"), "The input must be a folder that exists."),
    "an empty folder": (lambda path: path.mkdir(), f"The input must hold {FILE_NAME}, or folders that do: train, "),
    "a folder of pictures alone": (
        lambda path: make_source(path).unlink(),
        f"The input must hold {FILE_NAME}, or folders that do: train, ",
    ),
    "a folder called digitStruct.mat in a folder": (
        lambda path: (path / FILE_NAME).mkdir(parents=True),
        f"The input must hold {FILE_NAME}, or folders that do: train, ",
    ),
}


@pytest.mark.parametrize(("make", "rule"), INPUTS.values(), ids=INPUTS)
def test_a_wrong_input_is_one_line(
    make: Callable[[Path], object], rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "input")
    error = error_of(capsys, arguments(tmp_path / "input", tmp_path / "out"), tmp_path)
    assert error.startswith(f"error: {rule}") and error.endswith(f" Received: {tmp_path / 'input'}")
    assert not (tmp_path / "out").exists()


def test_the_file_itself_as_input_is_one_line(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = source / "train" / FILE_NAME
    error = error_of(capsys, arguments(path, tmp_path / "out"), tmp_path)
    assert error == f"error: The input must be a folder that exists. Received: {path}"


def matlab_5(path: Path) -> None:
    path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x01IM" + bytes(500))


def hdf5(**columns: np.ndarray) -> Callable[[Path], None]:
    """Makes an HDF5 file of these arrays in a group digitStruct."""

    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file[f"digitStruct/{name}"] = values

    return make


def references(count: int) -> np.ndarray:
    return np.full((count, 1), h5py.Reference(), h5py.ref_dtype)


NO_HDF5, NO_COLUMNS = "must be an HDF5 file (MATLAB v7.3).", "must hold digitStruct/name and digitStruct/bbox, "
ANNOTATION_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file by MATLAB 5": (matlab_5, NO_HDF5),
    "a text file": (lambda path: path.write_text("name,label\n1.png,1\n" * 99), NO_HDF5),
    "an empty file": (lambda path: path.write_bytes(b""), NO_HDF5),
    "HDF5 without digitStruct": (hdf5(), NO_COLUMNS),
    "HDF5 without bbox": (hdf5(name=references(2)), NO_COLUMNS),
    "HDF5 with names as numbers": (hdf5(name=np.zeros((2, 1), "i8"), bbox=references(2)), NO_COLUMNS),
    "HDF5 with more boxes than names": (hdf5(name=references(2), bbox=references(3)), NO_COLUMNS),
    "HDF5 without a picture": (hdf5(name=references(0), bbox=references(0)), "must name at least one picture."),
}


@pytest.mark.parametrize(("make", "rule"), ANNOTATION_FILES.values(), ids=ANNOTATION_FILES)
def test_a_wrong_annotation_file_is_one_line(
    make: Callable[[Path], object], rule: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = source / "train" / FILE_NAME
    path.unlink()
    make(path)
    error = error_of(capsys, arguments(source, tmp_path / "out"), tmp_path)
    before, _, received = error.partition(" Received: ")
    assert rule in before and str(path.parent) in error and received
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.99], ids="{:.0%} of it".format)
def test_a_truncated_annotation_file_is_one_line(
    part: float, drawn: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        whole = data_folder() / "svhn_sample" / "train" / FILE_NAME
    except pytest.skip.Exception:
        whole = drawn / "train" / FILE_NAME
    path, data = source / "train" / FILE_NAME, whole.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    error = error_of(capsys, arguments(source, tmp_path / "out"), tmp_path)
    assert error.startswith(f"error: {path} {NO_HDF5} Received: ")
    assert not (tmp_path / "out").exists()


# --- outputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    ["FILE", "FILE/below", "/dev/null/below", "/proc/below", "nonsense://bucket/records"],
    ids=["a file", "below a file", "below a device", "where nothing can be made", "on a file system unknown"],
)
def test_a_wrong_output_is_one_line(
    output: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    output = output.replace("FILE", str(tmp_path / "file"))
    error = error_of(capsys, arguments(source, output), tmp_path)
    assert error.rstrip("'").endswith(output) or f"cannot reach {output}" in error
    assert Path(output) == tmp_path / "file" or not Path(output).exists()


FOREIGN: dict[str, tuple[list[str], str]] = {
    "a run": (["config.json", "history.jsonl", "best.weights.h5"], "best.weights.h5 and 2 more"),
    "pictures": (["1.png", "2.png", "digitStruct.mat"], "1.png and 2 more"),
    "folders of pictures": (["test/1.png", "train/1.png", "train/digitStruct.mat"], "test and 1 more"),
    "an export": (["data/train-00000-of-00001.parquet"], "data"),
    "a web page": (["manifest.json", "index.html"], "index.html"),
    "a source tree": ([".git/config", "setup.py"], "setup.py"),
}


@pytest.mark.parametrize(("names", "received"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["", "overwriting"])
def test_an_output_of_another_purpose_is_one_line(
    names: list[str],
    received: str,
    options: list[str],
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in (tmp_path / "out" / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    error = error_of(capsys, arguments(source, tmp_path / "out", *options), tmp_path)
    rule = "must be a new or empty folder, or hold a dataset of prepare: give another --output."
    assert error == f"error: {tmp_path / 'out'} {rule} Received: {received}"
    assert not (tmp_path / "out" / ".prepare").exists()


def test_an_output_with_hidden_files_or_with_more_than_its_dataset_is_none_of_these(
    source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / ".gitkeep").touch()
    assert main("beam_jobs", "", COMMANDS, arguments(source, output)) == 0
    (output / "README.md").write_text("about it")
    assert main("beam_jobs", "", COMMANDS, arguments(source, output)) == 0
    assert main("beam_jobs", "", COMMANDS, arguments(source, output, "--seed", "1", "--overwrite")) == 0
    assert (output / "README.md").exists()


# --- options ------------------------------------------------------------------------------------

OPTIONS = {
    "no shard": (["--shards", "0"], "shards must be 1..99999. Received: 0"),
    "too many shards": (["--shards", "100000"], "shards must be 1..99999. Received: 100000"),
    "a negative growth": (["--growth", "-1"], "growth must be 0..10. Received: -1.0"),
    "a growth that is no number": (["--growth", "nan"], "growth must be 0..10. Received: nan"),
    "records larger than crops": (
        ["--record-size", "70", "--crop-size", "60"],
        "crop_size at most 4096. Received: record_size 70, crop_size 60",
    ),
    "negative jitters": (["--jitters", "-1"], "jitters must be 0..1000. Received: -1"),
    "whole crops beside jitters": (["--whole-crops"], "whole_crops needs jitters 0. Received: 5"),
    "no example a shard": (["--examples-per-shard", "0"], "examples_per_shard must be at least 1. Received: 0"),
    "a subset that is not there": (["--subsets", "nonsense"], "holds the subsets train. Received: nonsense"),
    "a subset too many": (["--subsets", "train,extra"], "holds the subsets train. Received: extra"),
    "a name with a blank": (["--name", "Bad Name"], "name must be of a-z, 0-9 and _. Received: Bad Name"),
    "a share of dead letters above 1": (["--max-dead-fraction", "2"], "max_dead_fraction must be 0..1. Received: 2.0"),
    "nothing left to train on": (
        ["--validation-fraction", "0.5", "--test-fraction", "0.5"],
        "must leave something to train on. Received: 1.0",
    ),
    "an option that Beam does not know": (
        ["--nonsense", "3"],
        "one of these is neither. Received: ['--nonsense', '3']",
    ),
    "a word behind Beam's options": (["--direct_num_workers", "1", "stray"], "stray']"),
    "a value that Beam does not take": (["--direct_running_mode", "nonsense"], "'nonsense']"),
    "a runner that does not exist": (["--runner", "NonsenseRunner"], "NonsenseRunner"),
}


@pytest.mark.parametrize(("options", "ending"), OPTIONS.values(), ids=OPTIONS)
def test_a_wrong_option_is_one_line(
    options: list[str], ending: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(capsys, arguments(source, tmp_path / "out", *options), tmp_path)
    assert error.endswith(ending)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../test", "a/b"])
def test_a_subset_s_name_that_is_a_path_is_one_line(
    name: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(capsys, arguments(source / "train", tmp_path / "out", "--subsets", name), tmp_path)
    assert error.endswith(f" Received: {name}")


def test_a_dataset_to_be_overwritten_stays_where_the_input_is_wrong(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("beam_jobs", "", COMMANDS, arguments(source, tmp_path / "out")) == 0
    capsys.readouterr()
    (source / "train" / FILE_NAME).write_bytes(b"")
    error = error_of(capsys, arguments(source, tmp_path / "out", "--overwrite"), tmp_path)
    assert NO_HDF5 in error and (tmp_path / "out" / "manifest.json").is_file()


# --- how it is told -----------------------------------------------------------------------------


def test_verbose_adds_the_traceback(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("beam_jobs", "", COMMANDS, arguments(source, tmp_path / "out", "--verbose", "--shards", "0")) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error: shards must be 1..99999. Received: 0"


@pytest.mark.slow
def test_the_process_itself_ends_with_1_and_one_line(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "beam_jobs", *arguments(tmp_path / "gone", tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    error = f"error: The input must be a folder that exists. Received: {tmp_path / 'gone'}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error)
