"""`audit`: planted mistakes are found, shown, drafted as fixes, and gone once `prepare --fix` has applied the draft."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from tests.pages import Page
from tfrecords import Manifest
from tfrecords import open as open_split
from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.audit import second_opinion
from trainer.audit.fix_draft import draft_fixes, fixes_csv
from trainer.audit.suspects import BOX_ORDER, COLUMNS, LABEL_DIGIT, LABEL_LENGTH, LEAK, Suspect, rank

PLANTED = 3


def _prepare(drawn: Path, output: Path, fixes: Path | None = None) -> None:
    given = ["--source", "svhn", "--input", str(drawn), "--output", str(output), "--jitters", "0", "--workers", "1"]
    assert main("beam_jobs", "", BEAM_COMMANDS, ["prepare", *given, *(["--fix", str(fixes)] if fixes else [])]) == 0


def _texts(records: Path) -> dict[str, str]:
    return {each.key.partition("#")[0]: each.text for split in ("train", "test") for each in open_split(records, split)}


@pytest.fixture(scope="module")
def audited(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a dataset of which three labels are wrong, and its audit; and the right labels of these."""
    folder = tmp_path_factory.mktemp("audited")
    _prepare(drawn, folder / "right")
    texts = _texts(folder / "right")
    wrong = [key for key, text in sorted(texts.items()) if len(text) > 2][:PLANTED]
    changed = {key: str((int(texts[key][0]) + 4) % 10) + texts[key][1:] for key in wrong}
    rows = [(key, "relabel", text, "planted") for key, text in changed.items()]
    (folder / "planted.csv").write_bytes(fixes_csv(rows))
    _prepare(drawn, folder / "records", folder / "planted.csv")
    options = ["--data", str(folder / "records"), "--run-dir", "pretrained", "--output", str(folder / "audit.html")]
    assert main("trainer", "", COMMANDS, ["audit", *options, "--write-fixes", str(folder / "fixes.csv")]) == 0
    return folder, {key: texts[key] for key in wrong}


def test_planted_labels_come_first_with_the_right_number(audited: tuple[Path, dict[str, str]]) -> None:
    folder, right = audited
    rows = pq.read_table(folder / "audit.suspects.parquet").to_pylist()
    assert tuple(rows[0]) == COLUMNS
    first = [row for row in rows if row["kind"].startswith("label")][: PLANTED + 1]
    assert len(set(right) & {row["key"] for row in first}) == PLANTED
    for row in first:
        if row["key"] in right:
            assert (row["suggested"], row["kind"]) == (right[row["key"]], LABEL_DIGIT)
            assert json.loads(row["evidence"])["readers"]["pretrained"][0] == right[row["key"]]


def test_the_page_shows_each_suspicion_and_says_how_to_write_fixes(audited: tuple[Path, dict[str, str]]) -> None:
    folder, right = audited
    text = (folder / "audit.html").read_text()
    page = Page(text)
    assert all(key in page.text for key in right) and "fixes.csv" in page.text
    shown = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(shown) >= PLANTED and all(src.startswith("data:image/png;base64,") for src in shown)


def test_the_draft_makes_the_dataset_right_again(audited: tuple[Path, dict[str, str]], drawn: Path) -> None:
    folder, right = audited
    rows = list(csv.DictReader((folder / "fixes.csv").read_text().splitlines()))
    reviewed = [row for row in rows if row["key"] in right]
    assert {row["key"]: row["text"] for row in reviewed} == right
    (folder / "reviewed.csv").write_bytes(
        fixes_csv([(row["key"], row["action"], row["text"], row["reason"]) for row in reviewed])
    )
    _prepare(drawn, folder / "again", folder / "reviewed.csv")
    assert _texts(folder / "again") == _texts(folder / "right")


def test_a_reviewed_list_is_not_replaced(audited: tuple[Path, dict[str, str]], capsys: pytest.CaptureFixture) -> None:
    folder, _ = audited
    options = ["--data", str(folder / "records"), "--output", str(folder / "audit.html")]
    assert main("trainer", "", COMMANDS, ["audit", *options, "--write-fixes", str(folder / "planted.csv")]) == 1
    assert "--write-fixes must be a new file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--run-dir", "pretrained", "pretrained"], "Each --run-dir must be another reader"),
        (["--run-dir", "pretrained-finder"], "must be the run of a model that reads numbers"),
        (["--run-dir", "pretrained-mnist"], "must be cut as the images that pretrained-mnist was trained on"),
    ],
)
def test_readers_that_cannot_be_used_are_refused(
    audited: tuple[Path, dict[str, str]], options: list[str], rule: str, capsys: pytest.CaptureFixture
) -> None:
    folder, _ = audited
    given = ["--data", str(folder / "records"), "--output", str(folder / "other.html")]
    assert main("trainer", "", COMMANDS, ["audit", *given, *options]) == 1
    assert rule in capsys.readouterr().err


class Seven:
    """A stand-in for another package's reader, which reads 7 everywhere."""

    name = "rapidocr"

    def read(self, image: NDArray[np.uint8]) -> tuple[str, float]:
        """Returns a text and its confidence."""
        assert image.shape[2] == 3
        return "7!", 0.6


def test_the_page_says_what_a_second_opinion_read(
    audited: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder, right = audited
    monkeypatch.setattr(second_opinion, "load_second_opinion", lambda name: Seven())
    options = ["--data", str(folder / "records"), "--output", str(folder / "second.html")]
    assert main("trainer", "", COMMANDS, ["audit", *options, "--second-opinion", "rapidocr"]) == 0
    texts = [
        each.text
        for split in Manifest.load(folder / "records").splits
        for each in open_split(folder / "records", split)
    ]
    said = f"read {len(texts)} of {len(texts)} pictures, {texts.count('7')} as labelled"
    assert said in Page((folder / "second.html").read_text()).text and said in capsys.readouterr().err
    rows = pq.read_table(folder / "second.suspects.parquet").to_pylist()
    found = {row["key"]: json.loads(row["evidence"])["readers"] for row in rows if row["kind"].startswith("label")}
    assert set(right) <= set(found) and all(each["rapidocr"] == ["7", 0.6] for each in found.values())


def test_a_draft_has_one_fix_per_picture_and_none_of_what_no_reader_is_sure_of() -> None:
    sure, unsure = {"confident": 1}, {"confident": 0}
    copy = {"copy_of": "test/2.png", "its_label": "8"}
    suspects = [
        Suspect("train/9.png", LEAK, 1.0, "8", "", copy),
        Suspect("train/1.png", LABEL_DIGIT, 0.9, "47", "77", sure),
        Suspect("train/1.png", BOX_ORDER, 1.0, "47", "74", {}),
        Suspect("train/2.png", LABEL_LENGTH, 0.8, "4", "", sure),
        Suspect("train/3.png", LABEL_DIGIT, 0.7, "4", "5", unsure),
        Suspect("train/4.png", LABEL_LENGTH, 0.6, "12345", "12345…", sure),
    ]
    rows = draft_fixes(rank(suspects))
    assert [row[:3] for row in rows] == [
        ("train/1.png", "relabel", "77"),
        ("train/2.png", "drop", ""),
        ("train/4.png", "drop", ""),
        ("train/9.png", "drop", ""),
    ]
    assert rows[3][3] == "leak, score 1.000, given 8, copy of test/2.png, labelled 8"
