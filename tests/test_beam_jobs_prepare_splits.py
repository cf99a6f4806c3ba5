"""Which split a picture is in: subsets published for it, shares that are drawn, or one split for all."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare.assign import Fractions, split_of
from beam_jobs.prepare.config import PrepareConfig, config_from_flags
from beam_jobs.prepare.plan import make_plan
from beam_jobs.prepare.split_warnings import COLUMNS, few_validation_pictures, shared_pictures
from beam_jobs.sources.base import Input, SourceOptions, Subset, published_split
from beam_jobs.sources.svhn.source import SOURCE
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.dataset.manifest import SplitInfo
from tfrecords.errors import UserError
from tfrecords.files.place import Place

KEYS = [f"train/{number}.png" for number in range(1, 1001)]


def make_subset(folder: Path, shade: int, pictures: int = 2) -> None:
    folder.mkdir(parents=True)
    names = [f"{number}.png" for number in range(1, pictures + 1)]
    for number, name in enumerate(names):
        Image.new("RGB", (64, 64), (shade, number, 0)).save(folder / name)
    write_digit_struct(folder / "digitStruct.mat", names, [(DigitBox(1, 5, 5, 20, 40),)] * pictures)


def prepare(source: Path, output: Path, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def pictures(output: Path) -> dict[str, int]:
    return {split: info.pictures for split, info in Manifest.load(output).splits.items()}


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "VAL", "Valid"])
def test_a_subset_for_validation_is_the_split_validation(name: str) -> None:
    assert published_split(name) == "validation"
    assert split_of(name, f"{name}/1.png", 0, Fractions(0.0, 0.5)) == "validation"


@pytest.mark.parametrize(
    ("name", "split"), [("test", "test"), ("Test", "test"), ("testing", "test"), ("train", None), ("devices", None)]
)
def test_other_subsets_are_test_or_drawn(name: str, split: str | None) -> None:
    assert published_split(name) == split


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_one_split_takes_every_subset(split: str) -> None:
    fractions = Fractions(0.05, 0, split)
    assert {split_of(subset, "a/1.png", 0, fractions) for subset in ("train", "val", "test", "extra")} == {split}


@pytest.mark.parametrize(
    ("fractions", "splits"),
    [
        (Fractions(0, 1), {"test"}),
        (Fractions(1, 0), {"validation"}),
        (Fractions(0.3, 0.7), {"test", "validation"}),
        (Fractions(0.5, 0), {"train", "validation"}),
    ],
)
def test_a_split_without_a_share_gets_no_picture(
    fractions: Fractions, splits: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {split_of("train", key, 0, fractions) for key in KEYS} == splits
    # The last of 2**64 positions is rounded to 1, which is in no share.
    monkeypatch.setattr("beam_jobs.prepare.assign.digest", lambda *_: 2**64 - 1)
    assert split_of("train", "train/1.png", 0, fractions) in splits


def test_all_for_test_leaves_no_default_for_validation() -> None:
    assert config_from_flags({"test_fraction": 1.0}).validation_fraction == 0
    assert config_from_flags({"test_fraction": 0.9}).validation_fraction == 0.05
    with pytest.raises(UserError, match=r"something to train on\. Received: 1\.05"):
        config_from_flags({"test_fraction": 1.0, "validation_fraction": 0.05})


def test_one_split_is_refused_where_it_is_unknown_or_leaves_a_share_undrawn() -> None:
    with pytest.raises(UserError, match=r"split must be one of train, validation, test\. Received: dev"):
        PrepareConfig(split="dev")
    with pytest.raises(UserError, match=r"split must be one of train, validation, test\. Received: predict"):
        PrepareConfig(split="predict")
    with pytest.raises(UserError, match=r"split leaves no test_fraction to draw\. Received: 0\.1"):
        PrepareConfig(split="train", test_fraction=0.1)


def test_the_manifest_s_settings_have_no_split_unless_it_is_set() -> None:
    assert "split" not in PrepareConfig().to_dict()
    assert PrepareConfig(split="test").to_dict()["split"] == "test"


def _plan(names: list[str], settings: dict[str, Any]) -> tuple[float, list[str]]:
    subsets = tuple(Subset(name, name, 1000, "") for name in names)
    plan = make_plan(PrepareConfig(**settings), subsets, Place("out"))
    return plan.config.validation_fraction, list(plan.shards)


@pytest.mark.parametrize(
    ("names", "settings", "expected"),
    [
        (["train", "test"], {}, (0.05, ["train", "validation", "test"])),
        (["train", "val"], {}, (0.0, ["train", "validation"])),
        (["train", "Dev", "test"], {}, (0.0, ["train", "validation", "test"])),
        (["train"], {"test_fraction": 1.0, "validation_fraction": 0.0}, (0.0, ["test"])),
        (["train"], {"validation_fraction": 1.0}, (1.0, ["validation"])),
        (["train", "val", "test"], {"split": "test"}, (0.0, ["test"])),
    ],
)
def test_the_plan_draws_no_validation_beside_one_that_is_published(
    names: list[str], settings: dict[str, Any], expected: tuple[float, list[str]]
) -> None:
    assert _plan(names, settings) == expected


# --- folders ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    made = tmp_path_factory.mktemp("subset") / "one"
    make_subset(made, 0, 1)

    def copy(folder: Path) -> None:
        shutil.copytree(made, folder)

    return copy


@pytest.mark.parametrize(
    ("folders", "wanted", "read", "unread"),
    [
        ("train val test", "", "train test val", ""),
        ("train Validation", "", "train validation", ""),
        ("Train TEST", "", "train test", ""),
        ("extra val test train", "", "train test extra val", ""),
        ("train dev holdout 2024", "", "train dev", "2024 holdout"),
        ("train holdout", "holdout,train", "train holdout", ""),
        ("train val", "VAL", "val", "train"),
        ("train .train", "", "train", ""),
    ],
)
def test_folders_are_read_by_their_names_in_any_case(
    subset: Callable[[Path], None], tmp_path: Path, folders: str, wanted: str, read: str, unread: str
) -> None:
    for name in folders.split():
        subset(tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    found = SOURCE.find_subsets(Input(Place(tmp_path), tuple(filter(None, wanted.split(",")))), SourceOptions())
    assert [each.name for each in found] == read.split()
    assert [Path(path).name for path in SOURCE.unread(Input(Place(tmp_path)), found, SourceOptions())] == unread.split()


def test_a_link_to_a_folder_is_read(subset: Callable[[Path], None], tmp_path: Path) -> None:
    subset(tmp_path / "elsewhere" / "one")
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "val").symlink_to(tmp_path / "elsewhere" / "one")
    (found,) = SOURCE.find_subsets(Input(Place(tmp_path / "input")), SourceOptions())
    assert (found.name, found.path) == ("val", str(tmp_path / "input" / "val"))


def test_a_folder_below_a_subset_is_left_out_too(subset: Callable[[Path], None], tmp_path: Path) -> None:
    subset(tmp_path / "photos")
    subset(tmp_path / "photos" / "val")
    found = SOURCE.find_subsets(Input(Place(tmp_path / "photos")), SourceOptions())
    assert SOURCE.unread(Input(Place(tmp_path / "photos")), found, SourceOptions()) == (
        str(tmp_path / "photos" / "val"),
    )


@pytest.mark.parametrize(
    ("folders", "wanted", "message"),
    [
        ("training", "", "validation, dev. These hold it: training (--subsets reads them). Received: "),
        ("train val", "dev", "holds the subsets train, val. Received: dev"),
        ("train Train", "", "must differ in more than their case. Received: Train, train"),
        ("train v1.2", "train,v1.2", "must be of letters, digits, - and _. Received: v1.2"),
    ],
)
def test_folders_that_cannot_be_read_are_refused(
    subset: Callable[[Path], None], tmp_path: Path, folders: str, wanted: str, message: str
) -> None:
    for name in folders.split():
        subset(tmp_path / name)
    with pytest.raises(UserError) as error:
        SOURCE.find_subsets(Input(Place(tmp_path), tuple(filter(None, wanted.split(",")))), SourceOptions())
    assert message in str(error.value)


def test_a_validation_folder_is_a_split_and_what_is_left_out_or_twice_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "svhn", tmp_path / "records"
    for shade, name in enumerate(("train", "val", "test", "more")):
        make_subset(source / name, shade)
    shutil.rmtree(source / "test")
    shutil.copytree(source / "train", source / "test")
    assert prepare(source, output, "--validation-fraction", "0.5") == 0
    assert pictures(output) == {"train": 2, "validation": 2, "test": 2}
    assert warnings(capsys) == [
        f"warning: not read, although annotations are there: {source / 'more'} "
        "(--subsets chooses, or give one as --input)",
        "warning: the split validation is a subset of the input, so --validation-fraction draws nothing",
        "warning: the split validation has only 2 pictures, too few to compare epochs by (see --validation-fraction)",
        "warning: test shares 2 of its 2 pictures with train, byte for byte "
        "(test/1.png = train/1.png, test/2.png = train/2.png)",
    ]
    (output / "annotations.parquet").unlink()
    assert prepare(source, output, "--validation-fraction", "0.5") == 0, "nothing is read but the manifest"
    assert len(warnings(capsys)) == 2
    assert prepare(source, output, "--split", "test", "--overwrite") == 0
    assert pictures(output) == {"test": 6}
    assert Manifest.load(output).config["split"] == "test"


def test_a_folder_is_for_test_as_a_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_subset(tmp_path / "photos", 0)
    assert prepare(tmp_path / "photos", tmp_path / "records", "--test-fraction", "1") == 0
    assert pictures(tmp_path / "records") == {"test": 2}
    assert not warnings(capsys)


# --- warnings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"train": 100, "validation": 20}, None),
        ({"test": 100}, None),
        ({"train": 100, "validation": 19}, "the split validation has only 19 pictures, too few"),
        ({"train": 100, "validation": 1}, "the split validation has only 1 picture, too few"),
        ({"train": 100}, "the split validation has no picture, too few"),
        ({"train": 100, "validation": 0}, "the split validation has no picture, too few"),
    ],
)
def test_few_pictures_for_validation_are_worth_a_line(counts: dict[str, int], line: str | None) -> None:
    lines = list(few_validation_pictures({name: SplitInfo(count, count, []) for name, count in counts.items()}))
    assert len(lines) == (line is not None) and (line is None or lines[0].startswith(line))


def test_pictures_that_two_splits_share_are_counted() -> None:
    files = [
        ("train", 10, 1, None),
        ("train", 10, 1, None),
        ("train", 11, 1, None),
        ("validation", 10, 1, None),
        ("test", 10, 1, None),
        ("test", 10, 1, None),
        ("test", 12, 1, None),
        ("test", 11, 2, None),
        ("test", 11, 1, "box_outside"),
        ("test", None, None, "missing_picture"),
    ]
    rows = [(f"{split}/{index}", split, str(index), split, *rest) for index, (split, *rest) in enumerate(files)]
    table = pa.table(dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)))
    assert list(map(str, shared_pictures(table))) == [
        "test shares 2 of its 4 pictures with train, byte for byte (test/4 = train/0, test/5 = train/0)",
        "test shares 2 of its 4 pictures with validation, byte for byte (test/4 = validation/3, test/5 = validation/3)",
        "validation shares 1 of its 1 pictures with train, byte for byte (validation/3 = train/0)",
    ]
    assert not list(shared_pictures(table.slice(0, 3))) and not list(shared_pictures(table.slice(0, 0)))
