"""The benchmark of the audit: what is planted, and how it is scored."""

import json
import random

import numpy as np
import pytest

from benchmarks.audit.__main__ import main, report
from benchmarks.audit.plant import Planted, Row, slightly_changed, wrong_box, wrong_text


def test_a_wrong_label_differs_by_a_similar_digit_one_less_or_two_swapped() -> None:
    draw = random.Random(0)
    for number, text in enumerate(["123", "470", "65", "8", "11", "7"] * 3):
        wrong = wrong_text(text, number, draw)
        assert wrong != text and len(wrong) in (len(text), len(text) - 1) and wrong
        if number % 3 == 2 and len(set(text)) > 1:
            assert sorted(wrong) == sorted(text)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_that_comes_again_is_changed_a_little(channels: int) -> None:
    picture = np.random.default_rng(0).integers(60, 200, (28, 30, channels), np.uint8)
    for number in range(5):
        changed, row = slightly_changed(picture, Row("a.png", "1", "train"), number, np.random.default_rng(1))
        assert (
            changed.reshape(picture.shape).shape == picture.shape and (changed.reshape(picture.shape) != picture).any()
        )
        assert row.box == ()
    boxed = Row("a.png", "1", "train", (3.0, 4.0, 5.0, 6.0))
    assert slightly_changed(picture, boxed, 4, np.random.default_rng(1))[1].box == (4.0, 4.0, 5.0, 6.0)


def test_precision_and_recall_are_those_of_the_ranks() -> None:
    def of(key: str, kind: str, other: str = "") -> dict[str, str]:
        evidence = json.dumps({"copy_of": other} if other else {})
        return {"key": key, "kind": kind, "given": "1", "suggested": "7", "evidence": evidence}

    planted = Planted({"a", "b"}, {frozenset("cd")}, {frozenset("ef"), frozenset("gh")})
    suspects = [of("a", "label-digit"), of("x/known.png", "label-order"), of("b", "label-length")]
    suspects += [of("d", "duplicate-near", "c"), of("e", "leak", "f"), of("e", "leak", "h")]
    lines = report(planted, suspects, ["known.png"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[2:]]
    assert rows == [
        ["wrong labels", "2", "0.50", "1.00", "3"],
        ["near duplicates", "1", "1.00", "1.00", "1"],
        ["leaks", "2", "0.50", "0.50", "2"],
    ]
    assert "known.png has rank 2 of 3" in lines and "not planted: x/known.png, labelled 1, read as 7" in lines
    assert [line.split()[0] for line in lines[2:5]] == ["FAIL", "pass", "FAIL"]


def test_a_wrong_box_is_moved_cut_or_grown_inside_the_picture() -> None:
    assert wrong_box((40, 20, 30, 40), (100, 200), "moved") == (55, 20, 30, 40)
    assert wrong_box((140, 20, 30, 40), (100, 200), "moved") == (125, 20, 30, 40)
    assert wrong_box((40, 20, 30, 40), (100, 200), "cut") == (40, 20, 20, 40)
    assert wrong_box((40, 25, 30, 40), (100, 200), "grown") == (25, 5, 60, 80)
    assert wrong_box((10, 10, 30, 40), (70, 50), "grown") == (0, 0, 50, 70)
    assert wrong_box((10, 10, 38, 40), (70, 50), "moved") == (0, 10, 29, 40)


def test_wrong_boxes_are_scored_by_the_way_in_which_they_are_wrong() -> None:
    planted = Planted(boxes={"a": "moved", "b": "cut", "c": "moved"})
    suspects = [{"key": key, "kind": "box", "given": "1", "suggested": "", "evidence": "{}"} for key in "xab"]
    lines = report(planted, [*suspects, {**suspects[0], "key": "c", "kind": "box-order"}], [])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[2:]]
    assert rows == [
        ["wrong boxes", "3", "0.67", "0.67", "3"],
        ["of these moved", "2", "", "0.50", "1"],
        ["of these cut", "1", "", "1.00", "1"],
    ]
    assert lines[2:] == ["not planted: x, labelled 1, {}"]


def test_an_input_that_is_missing_is_refused(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--input", f"{tmp_path}/none"])
    assert "none" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--input", f"{tmp_path}/none", "--boxes", "--known", "1.png"])
    assert "--known is of wrong labels" in capsys.readouterr().err
