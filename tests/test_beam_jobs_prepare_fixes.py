"""A reviewed list of corrections: how it is read, what it changes, and what the dataset states of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from beam_jobs.annotation import DROPPED, Annotation, DeadLetter
from beam_jobs.prepare.fixes import NONE, Fixes, read_fixes
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tfrecords import Manifest
from tfrecords import open as open_split
from tfrecords.cli import main
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox

ONE = Annotation("train", "1.png", 0, "47", (BoundingBox(2, 1, 12, 6), BoundingBox(3, 7, 13, 11)))
DEAD = replace(ONE, dead=DeadLetter("annotation", "bad_box", "train/1.png: ..."))


def _read(tmp_path: Path, text: str, encoding: str = "utf-8") -> Fixes:
    path = tmp_path / "fixes.csv"
    path.write_bytes(text.encode(encoding))
    return read_fixes(str(path))


def test_a_list_is_read_in_any_order_and_its_digest_is_of_what_it_does(tmp_path: Path) -> None:
    found = _read(tmp_path, "key,action,text,reason\ntrain/1.png,relabel,77,shows 77\ntrain/2.png,drop,,\n")
    assert found.texts == {"train/1.png": "77", "train/2.png": None} and (found.dropped, found.relabelled) == (1, 1)
    same = _read(tmp_path, "text,key,action\r\n,train/2.png,drop\r\n77,train/1.png,relabel\r\n", "utf-8-sig")
    assert same.sha256 == found.sha256 and len(found.sha256) == 64
    assert _read(tmp_path, "key,action,text\ntrain/1.png,relabel,78\ntrain/2.png,drop,\n").sha256 != found.sha256


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("key,text\na,1\n", "must have the columns key, action, text, reason .* action is not there"),
        ("", "must have the columns"),
        ("key,action,text\n,drop,\n", "line 2: a fix must have a key"),
        ("key,action,text\na,delete,\n", "line 2: the action must be drop or relabel. Received: 'delete'"),
        ("key,action,text\na,relabel,\n", "line 2: relabel must have a text"),
        ("key,action,text\na,drop,1\n", "line 2: drop must have no text"),
        ("key,action,text\na,drop,\na,relabel,1\n", "line 3: a key must be in the list once. Received: a"),
        ('key,action,text\n"a,drop,\n', "must be a CSV file"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused_with_its_line(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        _read(tmp_path, text)


def test_a_missing_list_and_one_of_other_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such list of fixes"):
        read_fixes(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="must be a CSV file in UTF-8"):
        _read(tmp_path, "key,action,text\nä,drop,\n", "latin-1")


def test_a_number_of_the_same_length_keeps_the_boxes_of_its_characters() -> None:
    assert Fixes({"train/1.png": "77"}).apply(ONE) == replace(ONE, text="77")


def test_a_number_of_another_length_keeps_the_box_around_all_characters() -> None:
    expected = replace(ONE, text="477", boxes=(), box=BoundingBox(2, 1, 13, 11))
    assert Fixes({"train/1.png": "477"}).apply(ONE) == expected


def test_a_dropped_number_has_a_dead_letter_and_others_stay_as_they_are() -> None:
    dropped = Fixes({"train/1.png": None}).apply(ONE)
    assert dropped.dead is not None and dropped.dead.reason == DROPPED
    assert Fixes({"train/2.png": None}).apply(ONE) is ONE and NONE.apply(ONE) is ONE
    assert Fixes({"train/1.png": None}).apply(DEAD) is DEAD


def test_keys_of_no_annotation_and_of_rejected_ones_are_refused_by_name() -> None:
    unseen = Fixes({"train/1.png": "7", "train/9.png": None}).unseen()
    assert list(unseen.without([ONE])) == [ONE]
    with pytest.raises(UserError, match=r"1 unknown: train/9\.png"):
        unseen.check()
    unseen = Fixes({"train/1.png": "7"}).unseen()
    list(unseen.without([DEAD]))
    with pytest.raises(UserError, match=r"1 unknown: train/1\.png"):
        unseen.check()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixes") / "train"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"{index}.png" for index in range(1, 9)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(folder / name)
    boxes = [[DigitBox(2, 5, 4, 6, 12), DigitBox(3, 14, 4, 6, 12)]] * len(names)
    write_digit_struct(folder / "digitStruct.mat", names, boxes)
    return folder


def _prepare(source: Path, output: Path, *options: str) -> int:
    given = ["--source", "svhn", "--input", str(source), "--output", str(output), "--jitters", "0"]
    return main("beam_jobs", "", COMMANDS, ["prepare", *given, "--validation-fraction", "0", *options])


def test_prepare_applies_a_list_and_states_it(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("key,action,text,reason\ntrain/3.png,relabel,29,\ntrain/5.png,drop,,\ntrain/6.png,relabel,239,\n")
    outputs = [tmp_path / name for name in ("one", "two", "beam")]
    ways = (["--workers", "1"], ["--workers", "2", "--shards", "1"], ["--runner", "FnApiRunner"])
    for output, way in zip(outputs, ways, strict=True):
        assert _prepare(source, output, "--fix", str(fixes), "--shards", "1", *way) == 0
    assert "--fix relabelled 2 numbers and dropped 1" in capsys.readouterr().out
    manifest = Manifest.load(Place(outputs[0]))
    stated = {name: value for name, value in manifest.config.items() if name.startswith("fixes")}
    digest = read_fixes(str(fixes)).sha256
    assert stated == {"fixes_sha256": digest, "fixes_dropped": 1, "fixes_relabelled": 2}
    assert manifest.dead_letters == {DROPPED: 1} and manifest.splits["train"].examples == 7
    texts = {each.key.partition("#")[0]: each.text for each in open_split(outputs[0], "train")}
    assert {key: text for key, text in texts.items() if text != "23"} == {"train/3.png": "29", "train/6.png": "239"}
    assert "train/5.png" not in texts and len(texts) == 7
    contents = [{path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} for output in outputs]
    assert contents[0] == contents[1] == contents[2]
    rows = pq.read_table(outputs[0] / "annotations.parquet", columns=["key", "text", "reason"]).to_pylist()
    assert {row["key"]: row["text"] for row in rows if row["reason"] == DROPPED} == {"train/5.png": "23"}
    # The same command finds the dataset complete; another list is another dataset.
    assert _prepare(source, outputs[0], "--fix", str(fixes), "--shards", "1") == 0
    assert "already prepared" in capsys.readouterr().out
    assert _prepare(source, outputs[0], "--shards", "1") == 1
    assert "fixes_sha256" in capsys.readouterr().err
    # What was made with a list is made again with it.
    rebuild = ["rebuild", str(outputs[0]), "--input", str(source), "--workers", "1"]
    assert main("beam_jobs", "", COMMANDS, rebuild) == 2
    assert f"was made with a list of fixes: give --fix, a list of the digest {digest}" in capsys.readouterr().err
    assert main("beam_jobs", "", COMMANDS, [*rebuild, "--fix", str(fixes)]) == 0


def test_a_dataset_without_a_list_states_none(source: Path, tmp_path: Path) -> None:
    assert _prepare(source, tmp_path / "plain") == 0
    assert not [name for name in Manifest.load(Place(tmp_path / "plain")).config if name.startswith("fixes")]


def test_an_unknown_key_ends_prepare_before_anything_is_written(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("key,action,text\ntrain/3.png,drop,\ntrain/3.png#0,drop,\n")
    assert _prepare(source, tmp_path / "made", "--fix", str(fixes)) == 1
    assert "1 unknown: train/3.png#0" in capsys.readouterr().err and not (tmp_path / "made").exists()
