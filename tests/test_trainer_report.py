"""The report page: its numbers, what it says of missing files, and that it needs nothing but itself."""

import argparse
import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.pages import Page
from tfrecords.errors import UserError
from tfrecords.pages import charts, formats, page
from tfrecords.pages.charts import Axis, Series
from trainer.commands import report as command
from trainer.pretrained import DIRECTORY
from trainer.report import gallery, load_run, render, write_report
from trainer.scoring.metrics import coverage_at, coverage_curve
from trainer.scoring.prediction_file import COLUMNS, Prediction, read_predictions

HOSTILE = '<script>alert("1")</script>&"\'.png#0'
SECTIONS = {"scores", "training", "coverage", "reliability", "lengths", "digits", "gallery", "data", "configuration"}


def _predictions(count: int = 80) -> list[Prediction]:
    rng = np.random.default_rng(3)
    rows = []
    for i in range(count):
        number = str(rng.integers(1, 9999))
        correct = bool(rng.random() < 0.6)
        key = HOSTILE if i == 0 else f"test/{i}.png#0"
        confidence = 1.0 if i == 0 else round(float(rng.random()), 2)
        rows.append(Prediction(key, number, number if correct and i else number[:-1], confidence, correct and i > 0))
    return rows


def _write_predictions(path: Path, predictions: list[Prediction]) -> None:
    columns = {name: [getattr(one, name) for one in predictions] for name in COLUMNS}
    pq.write_table(pa.table(columns), path)


def _history() -> Iterator[dict]:
    for epoch in range(1, 6):
        row = {"epoch": epoch, "step": 141 * epoch, "learning_rate": 0.002, "train_loss": 4 / epoch}
        row |= {"train_whole_number_accuracy": 1 - 1 / epoch}
        yield row | (
            {"validation_loss": 5 / epoch, "validation_whole_number_accuracy": 0.1 * epoch} if epoch > 1 else {}
        )


def _manifest() -> dict:
    shard = {"file": "svhn-train.tfrecord-00000-of-00001", "examples": 16200, "bytes": 144_000_000, "sha256": "ee"}
    return {
        "schema_version": 1,
        "name": "svhn",
        "config": {"crop": {"height": 54, "jitters": 5}},
        "sources": [{"subset": "train", "pictures": 3600, "sha256": "ab" * 32}],
        "splits": {"train": {"pictures": 3240, "examples": 16200, "shards": [shard]}},
        "dead_letters": {"<b>no box</b>": 2, "no picture": 1},
    }


def _evaluation(data: Path) -> dict:
    return {
        "split": "test",
        "data": str(data),
        "num_examples": 80,
        "whole_number_accuracy": 0.87,
        "whole_number_accuracy_interval": [0.84, 0.9],
        "digit_accuracy": 0.99951,
        "length_accuracy": 1.0,
        "coverage_at_98": 0.61,
        "loss": float("nan"),
        "position_accuracy": [{"position": 1, "num_examples": 80, "accuracy": 0.95}],
        "by_length": [{"length": 5, "num_examples": 0, "whole_number_accuracy": None}],
        "confusion": [
            [7 if row == column else int((row, column) == (1, 7)) for column in range(10)] for row in range(10)
        ],
    }


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole run, its dataset without shards, and pictures from thin air."""
    run_dir, data = tmp_path / "run-1", tmp_path / "records"
    run_dir.mkdir()
    data.mkdir()
    config = {
        "model": "compact",
        "data": str(data),
        "dataset": {"name": "svhn"},
        "note": "</td><script>",
        "augment": True,
    }
    (run_dir / "config.json").write_text(json.dumps(config))
    (run_dir / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _history()))
    (run_dir / "evaluation.json").write_text(json.dumps(_evaluation(data)))
    (data / "manifest.json").write_text(json.dumps(_manifest()))
    _write_predictions(run_dir / "predictions.parquet", _predictions())
    picture = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
    monkeypatch.setattr(gallery, "load_images", lambda data_dir, split, keys, _: dict.fromkeys(sorted(keys), picture))
    return run_dir


def _report(run_dir: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--run-dir", str(run_dir), *options]))


# Pure functions.


def test_the_coverage_curve_agrees_with_counting_at_every_threshold() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 50):
        confidence, correct = rng.integers(0, 12, count) / 12, rng.random(count) < 0.7
        coverage, accuracy = coverage_curve(confidence, correct)
        thresholds = sorted(set(confidence), reverse=True)
        np.testing.assert_allclose(coverage, [np.mean(confidence >= t) for t in thresholds])
        np.testing.assert_allclose(accuracy, [np.mean(correct[confidence >= t]) for t in thresholds])


def test_the_coverage_curve_does_not_depend_on_the_order_of_equal_confidences() -> None:
    one = coverage_curve([0.5, 0.5, 0.9], [True, False, True])
    other = coverage_curve([0.9, 0.5, 0.5], [True, False, True])
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one, [[1 / 3, 1], [1, 2 / 3]])


def test_the_coverage_curve_of_no_examples_is_empty() -> None:
    assert [part.shape for part in coverage_curve([], [])] == [(0,), (0,)]


def test_the_coverage_curve_rejects_unequal_lengths() -> None:
    with pytest.raises(ValueError, match=r"of the same length\. Received: shapes \(2,\) and \(1,\)"):
        coverage_curve([0.1, 0.2], [True])


def test_coverage_at_a_target_is_the_farthest_point_not_below_it() -> None:
    coverage, accuracy = np.array([0.25, 0.5, 0.75, 1.0]), np.array([1.0, 0.9, 0.98, 0.8])
    assert coverage_at(coverage, accuracy, 0.98) == 0.75
    assert coverage_at(coverage, accuracy - 0.5, 0.98) == 0.0


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.9, 1, [0.9, 0.92, 0.94, 0.96, 0.98, 1]), (0, 5.25, [0, 1, 2, 3, 4, 5])],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert charts.nice_ticks(low, high) == ticks


def test_ticks_of_epochs_are_whole_and_never_too_many() -> None:
    rng = np.random.default_rng(1)
    for high in rng.integers(2, 100_000, 200).tolist():
        ticks = charts.nice_ticks(1, high, whole=True)
        assert 1 <= len(ticks) <= 6
        assert all(tick == round(tick) and 1 <= tick <= high for tick in ticks)


def test_ticks_reject_an_empty_range() -> None:
    with pytest.raises(ValueError, match=r"low must be below high\. Received: 1, 1"):
        charts.nice_ticks(1, 1)


def test_thinning_keeps_the_ends_and_the_limit() -> None:
    points = [(float(i), 0.0) for i in range(1000)]
    thinned = charts.thin(points, 10)
    assert (len(thinned), thinned[0], thinned[-1]) == (10, points[0], points[-1])
    assert charts.thin(points[:9], 10) == points[:9]


def test_a_line_is_interrupted_where_its_value_is_not_finite() -> None:
    line = Series("a", "main", [(0, 0.1), (1, 0.2), (2, float("nan")), (3, 0.4), (4, float("inf"))])
    svg = charts.line_chart([line], Axis(0, 4), Axis(0, 1), "d")
    [path] = re.findall(r'class="line main" d="([^"]*)"', svg)
    assert (path.count("M"), path.count("L")) == (2, 1)
    assert "nan" not in svg and "inf" not in svg


def test_a_chart_escapes_its_texts() -> None:
    svg = charts.line_chart(
        [Series("<a>", "main", [(0, 0)]), Series("b", "second", [])], Axis(0, 1), Axis(0, 1), '"><b>'
    )
    Page(svg)
    assert "<a>" not in svg and "<b>" not in svg


def test_the_gallery_puts_the_surest_mistakes_and_the_least_sure_answers_first() -> None:
    predictions = [Prediction(f"k{i}", "1", "1" if i % 2 else "2", i / 200, bool(i % 2)) for i in range(200)]
    chosen = gallery.choose(predictions)
    assert [one.key for one in chosen.wrong] == [f"k{i}" for i in range(198, 150, -2)]
    assert [one.key for one in chosen.unsure] == [f"k{i}" for i in range(1, 24, 2)]
    assert len(chosen.right) == 24
    assert all(one.correct for one in chosen.right)
    assert not set(chosen.right) & set(chosen.unsure)
    assert gallery.choose(predictions[::-1]) == chosen


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_survives_its_data_uri(channels: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 4, channels), np.uint8)
    head, _, body = page.png_data_uri(picture).partition(",")
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(read.reshape(picture.shape), picture)


def test_a_picture_of_floats_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"must be uint8 .* Received: float64, shape \(2, 2, 3\)"):
        page.png_data_uri(np.zeros((2, 2, 3)))  # type: ignore[arg-type]


def test_pictures_are_found_by_key_in_one_pass_that_ends_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def examples(directory: str, split: str, snapshot: int | None) -> Iterator[SimpleNamespace]:
        for i in range(9):
            assert snapshot is None
            read.append((directory, split, i))
            yield SimpleNamespace(key=f"k{i}", image=np.full((2, 2, 1), i, np.uint8))

    monkeypatch.setattr("tfrecords.open", examples)
    pictures = gallery.load_images(Path("records"), "test", {"k1", "k4"})
    assert {key: int(picture[0, 0, 0]) for key, picture in pictures.items()} == {"k1": 1, "k4": 4}
    assert read == [("records", "test", i) for i in range(5)]
    assert gallery.load_images(Path("nowhere"), "test", set()) == {}


def test_mix_ups_come_commonest_first_and_leave_out_right_digits() -> None:
    confusion = np.eye(10, dtype=int) * 9
    confusion[1, 7], confusion[7, 1], confusion[0, 8] = 2, 3, 2
    assert gallery.top_confusions(confusion.tolist(), most=2) == [(7, 1, 3), (0, 8, 2)]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.8734, "87.3 %"),
        (1, "100.0 %"),
        (0.99996, "> 99.9 %"),
        (0.0001, "< 0.1 %"),
        (0, "0.0 %"),
        (None, formats.DASH),
        (float("nan"), formats.DASH),
    ],
)
def test_shares_are_not_rounded_to_all_or_nothing(share: float | None, text: str) -> None:
    assert formats.format_percent(share).replace("\u00a0", " ") == text


def test_nested_settings_are_joined_with_dots() -> None:
    value = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": "text", "f": {}, "g": [{"h": None}, {"h": True}]}
    leaves = {"a.b": "1", "a.c.d": "[1, 2]", "e": "text", "f": "{}", "g.0.h": "null", "g.1.h": "true"}
    assert formats.named_texts(value) == list(leaves.items())


# Reading a run.


def test_a_directory_without_a_configuration_is_not_a_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"is not a run directory: it has no config\.json.* Received: {tmp_path}"):
        load_run(tmp_path)


def test_a_dataset_directory_given_by_hand_must_exist(run_dir: Path) -> None:
    with pytest.raises(UserError, match=r"--data must be an existing dataset directory\. Received: nowhere"):
        load_run(run_dir, Path("nowhere"))


def test_an_epoch_trained_twice_counts_once_and_an_unfinished_line_is_left_out(run_dir: Path) -> None:
    lines = ['{"epoch": 2, "train_loss": 9}', '{"epoch": 1}', '{"epoch": 2, "train_loss": 3}', '{"epoch": 3, "tra']
    (run_dir / "history.jsonl").write_text("\n".join(lines))
    assert load_run(run_dir).history == [{"epoch": 1}, {"epoch": 2, "train_loss": 3}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", r"config\.json must be a JSON object\. Received: "),
        ("evaluation.json", "[1]", r"evaluation\.json must be a JSON object\. Received: \[1\]"),
        ("evaluation.json", '{"confusion": [[1]]}', r"10 lists of 10 counts\. Received: \[\[1\]\]"),
        ("evaluation.json", '{"by_length": [1]}', r"by_length must be a list of objects\. Received: \[1\]"),
        (
            "history.jsonl",
            '{"epoch": 1}\n{"epoch": "x"}\n',
            r"history\.jsonl, line 2 must have an integer .* Received: x",
        ),
        ("predictions.parquet", "no", r"predictions\.parquet must be a Parquet file\. Received: "),
    ],
)
def test_a_broken_file_is_named(run_dir: Path, name: str, text: str, message: str) -> None:
    (run_dir / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load_run(run_dir)


def test_predictions_without_a_column_or_with_a_strange_confidence_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    pq.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(UserError, match=r"must have the columns key, number, .* Received: \['key'\]"):
        read_predictions(path)
    _write_predictions(path, [Prediction("a", "1", "1", 1.5, True)])
    with pytest.raises(UserError, match=r"key a: confidence must be in 0\.\.1\. Received: 1\.5"):
        read_predictions(path)


# The page.


def test_the_page_shows_every_section_and_score(run_dir: Path) -> None:
    parsed = Page(render(load_run(run_dir)).html)
    assert {attrs.get("id") for attrs in parsed.all("section")} == SECTIONS
    assert {attrs["href"] for attrs in parsed.all("a")} == {f"#{name}" for name in SECTIONS}
    text = " ".join(parsed.text.split()).replace("\u00a0", " ")
    for words in (
        "compact on svhn",
        "87.0 %",
        "84.0 % to 90.0 %",
        "61.0 %",
        "16,200",
        "144 MB",
        "crop.jitters",
        "3,600",
    ):
        assert words in text
    assert "incomplete" not in text


def test_the_page_fetches_nothing(run_dir: Path) -> None:
    parsed = Page(render(load_run(run_dir)).html)
    parsed.check_self_contained()
    html = render(load_run(run_dir)).html
    assert "url(" not in html and "@import" not in html and "http://" not in html and "https://" not in html


def test_every_picture_and_chart_says_what_it_shows(run_dir: Path) -> None:
    parsed = Page(render(load_run(run_dir)).html)
    assert len(parsed.all("img")) == len(gallery.choose(_predictions()).keys())
    assert all("the model predicted" in attrs["alt"] for attrs in parsed.all("img"))
    assert len(parsed.all("svg")) == 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in parsed.all("svg"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))


def test_hostile_texts_are_shown_and_not_run(run_dir: Path) -> None:
    parsed = Page(render(load_run(run_dir)).html)
    assert HOSTILE in parsed.text
    assert "</td><script>" in parsed.text
    assert "<b>no box</b>" in parsed.text
    assert not parsed.all("script")


def test_a_bare_run_gives_a_page_that_names_what_is_missing_and_what_makes_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    report = render(load_run(tmp_path))
    parsed = Page(report.html)
    assert {attrs.get("id") for attrs in parsed.all("section")} == SECTIONS
    assert len(report.missing) == 4
    for words in ("history.jsonl", "evaluation-test.json", "predictions-test.parquet", "manifest.json"):
        assert words in parsed.text
    for words in (
        "python -m trainer train",
        "python -m trainer evaluate",
        "python -m beam_jobs prepare",
        "--data DATA",
    ):
        assert words in parsed.text


def test_a_dataset_that_is_gone_leaves_a_page_without_pictures_that_says_so(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "records").rename(tmp_path / "moved")
    report = render(load_run(run_dir))
    assert report.num_pictures == 0
    assert "records does not exist" in report.missing[0]
    assert not Page(report.html).all("img")
    assert render(load_run(run_dir, tmp_path / "moved")).missing == ()


def test_pictures_that_cannot_be_read_are_reported(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data_dir: Path, split: str, keys: set[str], snapshot: int | None) -> None:
        raise UserError("the shard must be whole.", "x")

    monkeypatch.setattr(gallery, "load_images", fail)
    assert render(load_run(run_dir)).missing == ("The gallery has no pictures: the shard must be whole. Received: x",)
    monkeypatch.setattr(gallery, "load_images", lambda data_dir, split, keys, _: {})
    assert re.search(
        r"split test, does not have \d+ of the gallery's \d+ pictures", render(load_run(run_dir)).missing[0]
    )


@pytest.mark.parametrize("name", ["history.jsonl", "evaluation.json", "predictions.parquet"])
def test_any_single_file_may_be_missing_or_hold_little(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    assert any(line.startswith(name) for line in render(load_run(run_dir)).missing)
    if name == "evaluation.json":
        (run_dir / name).write_text('{"position_accuracy": [{}]}')
    elif name == "history.jsonl":
        (run_dir / name).write_text('{"epoch": 1, "train_loss": NaN, "learning_rate": 0}\n')
    else:
        _write_predictions(run_dir / name, [Prediction("a", "12", "", 0.5, False)])
    Page(render(load_run(run_dir)).html)


def test_the_page_says_whether_the_model_was_trained_on_the_dataset_shown(run_dir: Path, tmp_path: Path) -> None:
    texts = {True: "trained on this dataset", False: "trained on another dataset"}
    digest = hashlib.sha256((tmp_path / "records" / "manifest.json").read_bytes()).hexdigest()
    for said, same in ((digest, True), ("00", False), (None, None)):
        config = {"data": str(tmp_path / "records"), "dataset": {"manifest_sha256": said}}
        (run_dir / "config.json").write_text(json.dumps(config))
        text = Page(render(load_run(run_dir)).html).text
        assert [answer for answer, words in texts.items() if words in text] == ([same] if same is not None else [])


@pytest.mark.parametrize(
    "manifest",
    [
        {"name": "x"},
        {"sources": "a", "splits": [], "dead_letters": 3},
        {"sources": {"a": 1}, "splits": {"t": {}}, "dead_letters": {"total": 0}},
    ],
)
def test_an_unusual_manifest_is_still_shown(run_dir: Path, tmp_path: Path, manifest: dict) -> None:
    (tmp_path / "records" / "manifest.json").write_text(json.dumps(manifest))
    Page(render(load_run(run_dir)).html)


def test_the_command_writes_the_same_bytes_twice_and_says_where(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _report(run_dir) == 0
    assert re.search(rf"^Report with \d+ pictures \(.* kB\): {run_dir}/report\.html$", capsys.readouterr().out)
    assert _report(run_dir, "--output", str(tmp_path / "new" / "page.html")) == 0
    assert (run_dir / "report.html").read_bytes() == (tmp_path / "new" / "page.html").read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["page.html"]


def test_the_command_counts_what_is_missing(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_dir / "history.jsonl").unlink()
    assert _report(run_dir) == 0
    captured = capsys.readouterr()
    assert "1 part missing" in captured.out
    assert captured.err.startswith("note: history.jsonl is missing")


def test_a_text_without_utf_8_bytes_does_not_stop_the_page(run_dir: Path) -> None:
    (run_dir / "config.json").write_text('{"model": "\\ud800"}')
    write_report(run_dir, run_dir / "report.html")
    assert "<h1>?" in (run_dir / "report.html").read_text(encoding="utf-8")


# What is not replaced.


@pytest.mark.parametrize("name", ["notes.txt", "page", "sheet.png"])
def test_a_page_is_named_as_one(run_dir: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"must end in \.html or \.htm\. Received: {tmp_path / name}"):
        _report(run_dir, "--output", str(tmp_path / name))
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("text", ["", "<html>my page</html>", None])
def test_somebody_s_file_is_not_replaced(run_dir: Path, tmp_path: Path, text: str | None) -> None:
    output = tmp_path / "page.html"
    if text is None:
        (output / "folder").mkdir(parents=True)
    else:
        output.write_text(text)
    with pytest.raises(UserError, match=r"must be a new file, or a page of an earlier report\. Received: "):
        _report(run_dir, "--output", str(output))
    assert (output / "folder").is_dir() if text is None else output.read_text() == text


def test_a_page_with_pictures_is_not_replaced_by_one_without(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (run_dir / "evaluation.json").write_text(json.dumps(_evaluation(Path("records"))))
    assert _report(run_dir) == 0
    before = (run_dir / "report.html").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    rule = r"has pictures, and the new page would have none: use --data .* \(The dataset directory records does not"
    with pytest.raises(UserError, match=rule):
        _report(run_dir)
    assert (run_dir / "report.html").read_bytes() == before
    assert _report(run_dir, "--data", str(tmp_path / "records")) == 0
    assert _report(run_dir, "--output", "new.html") == 0


def test_the_package_gets_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"--output must not be in the folder of the package's weights\. Received: "):
        _report(DIRECTORY)
    with pytest.raises(UserError, match=r"--output must not be in the folder of the package's weights\. Received: "):
        _report(Path("pretrained"))


# Several splits.


def test_each_split_is_shown_on_request_and_the_others_are_listed(run_dir: Path, tmp_path: Path) -> None:
    for split, accuracy in (("validation", 0.41), ("train", 0.42)):
        scores = {**_evaluation(tmp_path / "records"), "split": split, "whole_number_accuracy": accuracy}
        (run_dir / f"evaluation-{split}.json").write_text(json.dumps(scores))
        _write_predictions(run_dir / f"predictions-{split}.parquet", _predictions()[:5])
    # The old evaluation.json is that of test.
    chosen: tuple[tuple[str | None, str], ...] = ((None, "test"), ("train", "train"), ("validation", "validation"))
    for wanted, shown in chosen:
        run = load_run(run_dir, None, wanted)
        assert run.evaluation["split"] == shown and not run.missing
        assert len(run.predictions) == (80 if shown == "test" else 5)
        others = [other["split"] for other in run.other_evaluations]
        assert sorted([*others, shown]) == ["test", "train", "validation"]
        text = Page(render(run).html).text
        assert all(percent in text.replace("\u00a0", " ") for percent in ("41.0 %", "42.0 %", "87.0 %"))
    with pytest.raises(UserError, match=r"has evaluations of validation, train, test\. Received: --split extra"):
        load_run(run_dir, None, "extra")


def test_a_split_evaluated_again_hides_what_an_older_version_wrote(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "evaluation-test.json").write_text(json.dumps({"split": "test", "whole_number_accuracy": 0.5}))
    run = load_run(run_dir, tmp_path / "records")
    assert run.evaluation["whole_number_accuracy"] == 0.5 and run.other_evaluations == []


# Widths.


def test_no_card_is_too_narrow_for_its_numbers() -> None:
    style = (Path(page.__file__).parent / "style.css").read_text()
    for selector in (".tiles b", ".confusion th, .confusion td"):
        (rule,) = re.findall(rf"^{re.escape(selector)} {{([^}}]*)}}", style, re.MULTILINE)
        assert "white-space: nowrap" in rule and "overflow-wrap" not in rule
    # A number that has a line of its own and does not fit, of up to 32 characters, breaks: figures cut the rest off.
    assert "overflow-wrap: anywhere" in re.findall(r"^\.answers b {([^}]*)}", style, re.MULTILINE)[0]
    assert "flex-wrap: wrap" in re.findall(r"^\.answers {([^}]*)}", style, re.MULTILINE)[0]
    steps = re.findall(r"min-width: (\d+)rem\) { \.gallery { grid-template-columns: repeat\((\d)", style)
    assert [int(columns) for _, columns in steps] == [3, 4, 6]
    for width, columns in ((int(width), int(columns)) for width, columns in steps):
        margin = min(max(1, 0.04 * width), 2.5)
        card = (width - 2 * margin - 0.8 * (columns - 1)) / columns - 2 * 0.65 - 2 / 16
        # Five bold digits of 1.05rem, in DejaVu Sans 0.7 of that wide; and "Prediction", ten letters of 0.72rem.
        assert card >= 5 * 0.7 * 1.05 + 0.6 + max(5 * 0.7 * 1.05, 10 * 0.55 * 0.72), columns


@pytest.mark.parametrize("share", [0.99996, 0.0001, 0.5, 1])
def test_a_share_is_never_broken(share: float) -> None:
    assert not re.search("[ \t\n]", formats.format_percent(share))


@pytest.mark.parametrize(("count", "style"), [(7, "10.3em"), (9999, "31.5em"), (12345, "38.5em")])
def test_the_confusion_matrix_is_as_wide_as_its_counts(run_dir: Path, tmp_path: Path, count: int, style: str) -> None:
    scores = _evaluation(tmp_path / "records")
    scores["confusion"][3][3] = count
    (run_dir / "evaluation.json").write_text(json.dumps(scores))
    (table,) = [tag for tag in Page(render(load_run(run_dir)).html).all("table") if "confusion" in tag.get("class", "")]
    assert table["style"] == f"min-width: {style}" and ("long" in table["class"]) == (count > 9999)
