"""The sample command: proportions, equal bytes, no half-written output, refusals."""

import argparse
import importlib.util
import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from beam_jobs.sample import command as sample
from beam_jobs.sample.command import LENGTH_COUNTS, SampleConfig, draw_number, picture_rng
from beam_jobs.sample.glyphs import find_faces
from tfrecords.errors import UserError


def run(*argv: object) -> int:
    parser = argparse.ArgumentParser()
    sample.add_arguments(parser)
    return sample.run(parser.parse_args([str(word) for word in argv]))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lengths_of_numbers_follow_svhn_s_proportions() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(len(draw_number(rng)) for _ in range(8000))
    for length, expected in enumerate(LENGTH_COUNTS, start=1):
        assert counts[length] / 8000 == pytest.approx(expected / sum(LENGTH_COUNTS), abs=0.02)
    assert counts[5] > 0


def test_numbers_have_digits_0_to_9_and_do_not_begin_with_0() -> None:
    rng = np.random.default_rng(0)
    numbers = [draw_number(rng) for _ in range(500)]
    assert {digit for number in numbers for digit in number} == set(range(10))
    assert all(number[0] != 0 for number in numbers)


def test_a_picture_s_generator_depends_on_seed_subset_and_index_alone() -> None:
    draws = {key: picture_rng(*key).random() for key in [(0, "train", 1), (1, "train", 1), (0, "test", 1)]}
    assert len(set(draws.values())) == 3
    assert picture_rng(0, "train", 1).random() == draws[0, "train", 1]
    # A golden value: drawing must not change from one machine, or one version of ours, to the next.
    assert picture_rng(0, "train", 1).integers(2**32) == GOLDEN


GOLDEN = 1608383658


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(4000, 0.1, (3600, 400)), (2, 0.01, (1, 1)), (3, 0.99, (1, 2))],
    ids=["default", "never no test", "never no train"],
)
def test_count_is_shared_between_the_subsets(count: int, fraction: float, expected: tuple[int, int]) -> None:
    assert tuple(SampleConfig(count, fraction).subset_counts.values()) == expected


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--count", 1),
        ("--test-fraction", 0.0),
        ("--test-fraction", 1.0),
        ("--test-fraction", "nan"),
        ("--seed", -1),
        ("--jobs", 0),
    ],
)
def test_a_bad_option_is_named_before_anything_is_written(tmp_path: Path, flag: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"^{flag} must be .* Received: {value}$"):
        run("--output", tmp_path / "out", flag, value)
    assert not (tmp_path / "out").exists()


def test_missing_typefaces_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'streetdigits\[sample\]'\. Received: no matplotlib"):
        find_faces()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "digits"
    assert run("--output", folder, "--count", 70, "--seed", 3, "--jobs", 1) == 0
    return folder


def test_the_output_is_laid_out_as_svhn_unpacks(drawn: Path) -> None:
    assert sorted(path.name for path in drawn.iterdir()) == ["sample.json", "test", "train"]
    for subset, count in (("train", 63), ("test", 7)):
        names = {path.name for path in (drawn / subset).iterdir()}
        assert names == {"digitStruct.mat", *(f"{index}.png" for index in range(1, count + 1))}


def test_names_and_boxes_of_digit_struct_fit_the_pictures(drawn: Path) -> None:
    with h5py.File(drawn / "test" / "digitStruct.mat") as file:
        names = ["".join(map(chr, file[ref][:, 0])) for ref in file["digitStruct/name"][:, 0]]
        assert names == [f"{index}.png" for index in range(1, 8)]
        for name, ref in zip(names, file["digitStruct/bbox"][:, 0], strict=True):
            left, width = (file[ref][field] for field in ("left", "width"))
            if len(left) > 1:
                left, width = (file[column[-1, 0]] for column in (left, width))
            with Image.open(drawn / "test" / name) as picture:
                assert picture.mode == "RGB"
                assert 0 < left[0, 0] + width[0, 0] <= picture.width


def test_the_configuration_is_saved_with_the_pictures(drawn: Path) -> None:
    saved = json.loads((drawn / "sample.json").read_text())
    assert (saved["count"], saved["test_fraction"], saved["seed"], saved["style"]) == (70, 0.1, 3, "clear")
    assert set(saved["versions"]) == {"h5py", "matplotlib", "numpy", "opencv-python-headless", "pillow"}


def test_two_processes_draw_the_same_bytes_as_one(drawn: Path, tmp_path: Path) -> None:
    run("--output", tmp_path / "again", "--count", 70, "--seed", 3, "--jobs", 2)
    assert contents(tmp_path / "again") == contents(drawn)


def test_the_old_spelling_of_style_works_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--output", tmp_path / "old", "--count", 2, "--jobs", 1, "--look", "street")
    assert "warning: --look is now --style; the old spelling will go in the next version\n" in capsys.readouterr().err
    run("--output", tmp_path / "new", "--count", 2, "--jobs", 1, "--style", "street")
    assert contents(tmp_path / "old") == contents(tmp_path / "new")
    assert json.loads((tmp_path / "new/sample.json").read_text())["style"] == "street"


def test_another_seed_draws_other_pictures(drawn: Path, tmp_path: Path) -> None:
    run("--output", tmp_path / "other", "--count", 4, "--seed", 4, "--jobs", 1)
    assert (tmp_path / "other/train/1.png").read_bytes() != (drawn / "train/1.png").read_bytes()


def test_a_smaller_count_draws_the_first_of_the_same_pictures(drawn: Path, tmp_path: Path) -> None:
    run("--output", tmp_path / "fewer", "--count", 4, "--seed", 3, "--jobs", 1)
    assert (tmp_path / "fewer/train/3.png").read_bytes() == (drawn / "train/3.png").read_bytes()


def test_the_last_line_has_the_counts_and_the_next_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my digits"
    run("--output", folder, "--count", 3, "--jobs", 1)
    assert capsys.readouterr().out == (
        f"drew 2 train and 1 test pictures in {folder}\nNext: python -m beam_jobs prepare --source svhn "
        f"--input '{folder}' --output '{folder}-records'\n"
    )


def test_pictures_are_replaced_only_when_asked_to(tmp_path: Path) -> None:
    run("--output", tmp_path, "--count", 3, "--seed", 1, "--jobs", 1)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"already contains pictures: .* --overwrite\. Received: .*train$"):
        run("--output", tmp_path, "--count", 4, "--seed", 2, "--jobs", 1)
    assert contents(tmp_path) == before
    run("--output", tmp_path, "--count", 4, "--seed", 2, "--jobs", 1, "--overwrite")
    assert (tmp_path / "train" / "3.png").exists()
    assert contents(tmp_path)["train/1.png"] != before["train/1.png"]


def test_overwrite_keeps_pictures_that_sample_did_not_draw(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(b"SVHN's")
    with pytest.raises(UserError, match=r"only replaces pictures that sample drew.* Received: .*test$"):
        run("--output", tmp_path, "--count", 3, "--jobs", 1, "--overwrite")
    assert contents(tmp_path) == {"test/1.png": b"SVHN's"}


def test_a_run_that_fails_leaves_no_subset_and_the_next_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, names: object, boxes: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("beam_jobs.sources.svhn.write.write_digit_struct", fail)
        with pytest.raises(OSError, match="disk full"):
            run("--output", tmp_path, "--count", 3, "--jobs", 1)
    assert not (tmp_path / "train").exists() and not (tmp_path / "test").exists()
    run("--output", tmp_path, "--count", 3, "--jobs", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.json", "test", "train"]
