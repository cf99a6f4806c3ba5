"""The page of a model that finds numbers: what is chosen, its curve, and what it says of a run."""

import json
from pathlib import Path

import pytest

from tests.pages import Page, show
from tests.scenes import draw_scene, write_scenes
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox
from trainer.finding.boxes import Found
from trainer.finding.found_file import FoundNumber, FoundPicture, found_pictures, read_found, write_found
from trainer.report import load_run, write_report
from trainer.report.finder import choose_groups, precision_recall, render_finder
from trainer.report.scenes import MOST_SHOWN

_BOX, _OTHER = BoundingBox(10, 10, 20, 30), BoundingBox(40, 5, 52, 21)
_CLOSE = BoundingBox(10, 10, 20, 28)


def _pictures() -> list[FoundPicture]:
    """Returns two found numbers, one below the threshold of 0.5, one that nothing overlaps, and two false finds."""
    return [
        FoundPicture("a", (_BOX, _OTHER), (_found(_CLOSE, 0.9, 0.9, 0), _found(_OTHER, 0.3, 1.0, 1))),
        FoundPicture("b", (_BOX,), (_found(_OTHER, 0.8), _found(_BOX, 0.6, 1.0, 0))),
        FoundPicture("c", (_OTHER,), ()),
        FoundPicture("d", (), (_found(_BOX, 0.95),)),
    ]


def _found(box: BoundingBox, confidence: float, iou: float = 0.0, number: int | None = None) -> FoundNumber:
    return FoundNumber(box, confidence, iou, number)


def test_galleries_have_what_was_missed_and_found_in_vain_in_their_order() -> None:
    missed, false, worst, right = choose_groups(_pictures(), 0.5)
    assert [(card.key, card.facts[0][1]) for card in missed.cards] == [("c", "none"), ("a", "30% confident")]
    assert [card.key for card in false.cards] == ["d", "b"]
    assert worst.total == 0 and sorted(card.key for card in right.cards) == ["a", "b"]
    assert all(card.is_right for card in right.cards) and not any(card.is_right for card in missed.cards)


def test_no_more_cards_than_a_gallery_holds_and_all_are_counted() -> None:
    many = [FoundPicture(str(index), (_BOX,), (_found(_BOX, 0.9, 0.5 + index / 100, 0),)) for index in range(40)]
    _, _, worst, right = choose_groups(many, 0.5)
    assert (worst.total, len(worst.cards)) == (10, 10) and (right.total, len(right.cards)) == (30, MOST_SHOWN)
    assert [card.key for card in worst.cards] == [str(index) for index in range(10)]


def test_precision_and_recall_are_those_counted_from_each_confidence_on() -> None:
    # By hand: d is false, then a right, b false, b right, a right; four numbers.
    expected = [(0.95, 0, 0), (0.9, 1 / 4, 1 / 2), (0.8, 1 / 4, 1 / 3), (0.6, 2 / 4, 2 / 4), (0.3, 3 / 4, 3 / 5)]
    assert precision_recall(_pictures()) == [pytest.approx(row) for row in expected]
    assert precision_recall([FoundPicture("d", (), (_found(_BOX, 0.95),))]) == []


def test_boxes_of_one_confidence_are_one_point_of_the_curve() -> None:
    each = [FoundPicture(str(index), (_BOX,), (_found(_BOX, 0.5, 1.0, 0),)) for index in range(3)]
    assert precision_recall(each) == [(0.5, 1.0, 1.0)]


def test_what_was_found_is_written_in_pixels_of_the_source_and_read_again(tmp_path: Path) -> None:
    found = [[Found(_CLOSE, 0.91), Found(_OTHER, 0.5)], []]
    pictures = list(found_pictures(["a", "b"], found, [[_BOX], [_OTHER]], [(0.5, 0.25), (1.0, 1.0)]))
    write_found(tmp_path / "found-test.jsonl", pictures)
    first, second = read_found(tmp_path / "found-test.jsonl")
    assert first.numbers == (BoundingBox(20, 40, 40, 120),) and second.found == ()
    assert [(one.number, one.iou, one.confidence) for one in first.found] == [(0, 0.9, 0.91), (None, 0.0, 0.5)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "found-test.jsonl"
    for content in ('{"key": "a"}', '{"key": "a", "numbers": [], "found": [{"box": [1], "confidence": 1}]}', "{"):
        path.write_text(content + "\n")
        with pytest.raises(UserError, match=r"found-test.jsonl, line 1 must be as `python -m trainer evaluate` writes"):
            read_found(path)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with an evaluation of three scenes, of which nothing is found in the second."""
    scenes = [draw_scene(seed, numbers=count) for seed, count in ((1, 2), (2, 1), (3, 0))]
    data = write_scenes(tmp_path / "scenes", {"test": scenes})
    folder = tmp_path / "run"
    folder.mkdir()
    config = {"model": "finder", "data": str(data), "dataset": {"name": "streets", "task": "find"}}
    (folder / "config.json").write_text(json.dumps(config))
    names = ("loss", "average_precision", "recall", "precision", "threshold", "mean_iou")
    history = [{"epoch": epoch, **{f"validation_{name}": epoch / 4 for name in names}} for epoch in (1, 2, 3)]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    scores = dict.fromkeys((*names, "recall_at_iou_0.75"), 0.5)
    counts = {"num_pictures": 3, "num_numbers": 3, "num_pictures_without_number": 1, "num_of_these_with_a_box": 1}
    evaluation = {"split": "test", "data": str(data), "task": "find", **scores, **counts}
    (folder / "evaluation-test.json").write_text(json.dumps(evaluation))
    truth = [[BoundingBox(*box) for box in scene.boxes.tolist()] for scene in scenes]
    found = [[Found(box, 0.9) for box in truth[0]], [], [Found(_BOX, 0.7)]]
    pictures = found_pictures([scene.key for scene in scenes], found, truth, [(1.0, 1.0)] * 3)
    write_found(folder / "found-test.jsonl", pictures)
    return folder


def test_the_page_shows_the_scores_the_curves_and_the_pictures(run_dir: Path) -> None:
    report = write_report(run_dir, run_dir / "report.html")
    assert report.missing == () and report.num_pictures == 4
    parsed = Page(report.html)
    parsed.check_self_contained()
    text = " ".join(parsed.text.split()).replace("\u00a0", " ")
    for words in (
        "finder on streets",
        "3 pictures with 3 numbers, split test",
        "Missed numbers: 1",
        "False finds, the most confident first: 1",
        "1 of 1",
        # 2 of 3 numbers, by Wilson's formula.
        "95 % interval 20.8 % to 93.9 %",
    ):
        assert words in text
    assert all(attrs["src"].startswith("data:image/jpeg") and attrs["alt"] for attrs in parsed.all("img"))
    assert len(parsed.all("svg")) == 4


def test_a_page_whose_dataset_is_gone_says_so(run_dir: Path) -> None:
    (run_dir.parent / "scenes").rename(run_dir.parent / "moved")
    report = render_finder(load_run(run_dir))
    assert report.num_pictures == 0 and "scenes does not exist" in report.missing[0]
    assert render_finder(load_run(run_dir, run_dir.parent / "moved")).num_pictures == 4


def test_a_page_without_an_evaluation_names_what_is_missing(run_dir: Path) -> None:
    for name in ("evaluation-test.json", "found-test.jsonl", "history.jsonl"):
        (run_dir / name).unlink()
    missing = render_finder(load_run(run_dir)).missing
    assert [line.split()[0] for line in missing] == ["history.jsonl", "evaluation-test.json", "found-test.jsonl"]


def test_the_page_fits_a_phone(run_dir: Path, tmp_path: Path) -> None:
    shown = show(render_finder(load_run(run_dir)).html, tmp_path, dark=True)
    assert shown.content_width == shown.window_width and shown.is_dark
