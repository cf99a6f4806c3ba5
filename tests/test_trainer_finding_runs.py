"""A model that finds numbers, trained by the loop of all models, scored, and used."""

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import scene_runs
from tests.conftest import Shared
from tests.forked import Forked
from tests.pages import Page
from tests.scenes import CANVAS, draw_scene, write_scenes
from tests.test_trainer_fit_resume import saved_history, saved_state
from tfrecords.cli import main
from tfrecords.errors import UserError
from trainer.__main__ import COMMANDS
from trainer.finding.finder import Finder, load_finder, run_threshold
from trainer.finding.found_file import read_found
from trainer.input.records import Records
from trainer.inside.heat import heat_map, over_pixels
from trainer.models import FINDERS
from trainer.reader import load_reader
from trainer.report.finder import precision_recall
from trainer.run.directory import Run
from trainer.run.weights import start_from

OPTIONS = ["--model", scene_runs.NAME, "--global-batch-size", "10", "--learning-rate", "0.01", "--zoom", "0.1"]
OPTIONS += ["--translate", "0.05", "--invert", "0", "--contrast", "0.1", "--brightness", "5"]


@pytest.fixture(scope="module")
def scenes(shared: Shared) -> Path:
    """A dataset of 24 training scenes in two shards, 8 of validation and 8 of test, some without a number."""

    def fill(folder: Path) -> None:
        counts = {"train": (0, 24), "validation": (1000, 8), "test": (2000, 8)}
        write_scenes(
            folder / "scenes",
            {name: [draw_scene(first + index) for index in range(count)] for name, (first, count) in counts.items()},
        )

    return shared("scenes", fill) / "scenes"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(FINDERS, scene_runs.NAME, scene_runs.build)
    yield


@pytest.fixture(scope="module")
def run_dir(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finder") / "run"
    code, output, errors = _train(scenes, folder, "", "--epochs", "30")
    assert code == 0, errors
    assert "average precision" in output
    return folder


def _train(scenes: Path, run_dir: Path, kill: str, *options: str) -> tuple[int, str, str]:
    command = ["train", "--data", str(scenes), "--run-dir", str(run_dir), *OPTIONS, "--deterministic", *options]
    return Forked(scene_runs.run, command, kill).wait()


def test_a_run_killed_within_an_epoch_ends_with_the_same_weights_and_scores(
    scenes: Path, run_dir: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    options = ["--epochs", "30", "--checkpoint-steps", "2"]
    assert _train(scenes, cut, "steps:5", *options)[0] == -signal.SIGKILL
    code, output, errors = _train(scenes, cut, "", *options)
    assert code == 0, errors
    assert "Resuming after step " in output
    assert saved_state(cut) == saved_state(run_dir) and saved_history(cut) == saved_history(run_dir)


def test_the_epoch_of_the_best_average_precision_is_kept_and_the_history_names_the_scores(run_dir: Path) -> None:
    lines = saved_history(run_dir)
    assert lines[-1]["train_loss"] < lines[0]["train_loss"] / 2
    names = ("train_pictures_found", "validation_recall", "validation_precision", "validation_mean_iou")
    assert all(0 <= line[name] <= 1 for line in lines for name in names)
    best = max(lines, key=lambda line: (line["validation_average_precision"], -line["validation_loss"]))
    assert best["validation_average_precision"] > 0.9
    assert run_threshold(Run.load(run_dir)) == best["validation_threshold"]


def test_evaluate_writes_the_scores_and_the_boxes_of_every_picture(
    scenes: Path, run_dir: Path, own: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["evaluate", "--data", str(scenes), "--run-dir", str(run_dir), "--output", str(tmp_path / "out")]
    assert main("trainer", "", COMMANDS, options) == 0
    scores = json.loads((tmp_path / "out" / "evaluation-test.json").read_text())
    printed = capsys.readouterr().out
    assert f"Found {scores['recall']:.1%} of the {scores['num_numbers']} numbers of test" in printed
    lines = [json.loads(line) for line in (tmp_path / "out" / "found-test.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == [f"train/{2000 + index}.png" for index in range(8)]
    truth = [draw_scene(2000 + index).boxes.tolist() for index in range(8)]
    assert [line["numbers"] for line in lines] == truth
    threshold = run_threshold(Run.load(run_dir))
    right = [one for line in lines for one in line["found"] if one["confidence"] >= round(threshold, 4) and one["iou"]]
    assert len(right) == pytest.approx(scores["recall"] * scores["num_numbers"])


def test_report_shows_the_run_and_its_evaluation(
    scenes: Path, run_dir: Path, own: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--run-dir", str(run_dir), "--output", str(tmp_path / "out")]
    assert main("trainer", "", COMMANDS, ["evaluate", "--data", str(scenes), *options]) == 0
    assert main("trainer", "", COMMANDS, ["report", "--run-dir", str(tmp_path / "out")]) == 0
    assert re.search(r"^Report with \d+ pictures, 1 part missing", capsys.readouterr().out.splitlines()[-1])
    scores = json.loads((tmp_path / "out" / "evaluation-test.json").read_text())
    found = read_found(tmp_path / "out" / "found-test.jsonl")
    # The point of the curve at the threshold is the score.
    _, recall, precision = [row for row in precision_recall(found) if row[0] >= round(scores["threshold"], 4)][-1]
    assert [recall, precision] == pytest.approx([scores["recall"], scores["precision"]])


def test_explain_shows_heat_maps_and_feature_maps(
    scenes: Path, run_dir: Path, own: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["explain", "--data", str(scenes), "--run-dir", str(run_dir), "--png", str(tmp_path / "png")]
    assert main("trainer", "", COMMANDS, [*options, "--output", str(tmp_path / "page.html")]) == 0
    parsed = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    parsed.check_self_contained()
    assert "Inside tiny_finder on scenes" in parsed.text and "Where it sees numbers" in parsed.text
    names = {path.name for path in (tmp_path / "png").iterdir()}
    assert {"look-scene-1-heat.png", "kernels-01-patches.png", "maps-scene-1-02-context.png"} <= names
    assert main("trainer", "", COMMANDS, [*options[:5], "--picture", "a.png", "--box", "1,1,5,5"]) == 1
    assert "--box must not go with tiny_finder" in capsys.readouterr().err


def test_the_heat_map_is_hottest_where_a_number_is_found(run_dir: Path, own: None) -> None:
    finder = load_finder(run_dir)
    scene = next(scene for scene in map(draw_scene, range(2000, 2008)) if len(scene.boxes))
    surest = finder.find(scene.image[: scene.content_size[0]])[0]
    heat = heat_map(finder.model, scene.image)
    assert heat.max() == pytest.approx(surest.confidence, abs=1e-4)
    over = over_pixels(heat, scene.image.shape[:2])
    row, column = np.unravel_index(over.argmax(), over.shape)
    assert surest.box.ymin - 8 <= row <= surest.box.ymax and surest.box.xmin - 8 <= column <= surest.box.xmax


def test_a_reader_and_a_finder_are_scored_together(
    scenes: Path,
    records: Path,
    run_dir: Path,
    untrained: Path,
    own: None,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = ["--output", str(tmp_path / "out")]
    options = ["evaluate", "--run-dir", str(untrained), "--finder", str(run_dir)]
    assert main("trainer", "", COMMANDS, [*options, "--data", str(scenes), *out]) == 0
    assert "pictures with one number, without a box (95 % interval" in capsys.readouterr().out
    scores = json.loads((tmp_path / "out" / "without-box-test.json").read_text())
    truth = [len(draw_scene(2000 + index).boxes) for index in range(8)]
    assert (scores["num_examples"], scores["several"]["num_pictures"]) == (truth.count(1), truth.count(2))
    assert main("trainer", "", COMMANDS, ["report", "--run-dir", str(tmp_path / "out"), "--without-box"]) == 0
    assert "Failures by kind" in Page((tmp_path / "out" / "without-box.html").read_text(encoding="utf-8")).text
    capsys.readouterr()
    assert main("trainer", "", COMMANDS, [*options, "--data", str(records), *out]) == 1
    assert "--finder must go with a dataset of complete pictures" in capsys.readouterr().err
    finders = ["evaluate", "--run-dir", str(run_dir), "--finder", str(run_dir), "--data", str(scenes)]
    assert main("trainer", "", COMMANDS, finders) == 1
    assert "--finder must go with a model that can read numbers" in capsys.readouterr().err


def test_a_finder_finds_in_pixels_of_the_picture_what_evaluate_finds(scenes: Path, run_dir: Path, own: None) -> None:
    finder = load_finder(run_dir)
    scene = next(scene for scene in map(draw_scene, range(2000, 2008)) if len(scene.boxes))
    picture = scene.image[: scene.content_size[0]]
    found = finder.find(picture)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    twice = finder.find(picture.repeat(2, 0).repeat(2, 1))
    for one, other in zip(found, twice, strict=True):
        np.testing.assert_allclose(np.array(other.box) / 2, one.box, atol=1.5)
    assert Finder(Run.load(run_dir), threshold=1.0).find(picture) == []
    assert repr(finder).endswith(f"{scene_runs.NAME}, in {CANVAS} x {CANVAS} pixels>")


def test_pictures_of_another_size_start_from_all_weights(run_dir: Path, own: None) -> None:
    source, model = load_finder(run_dir).model, scene_runs.build((96, 96, 3))
    assert "all layers are kept" in start_from(model, str(run_dir), {"channels": 3})
    for given, kept in zip(source.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(given, kept)


def test_two_replicas_learn_as_one_does(scenes: Path) -> None:
    # The last batch of an epoch is one picture, which leaves the second replica without any.
    code, output, errors = Forked(scene_runs.run_replicas, scenes, 23).wait()
    assert code == 0, errors
    one, two = json.loads(output.splitlines()[-1])
    np.testing.assert_allclose(one, two, rtol=2e-3)


def test_a_model_that_does_something_else_than_the_dataset_teaches_is_refused(
    scenes: Path, records: Path, run_dir: Path, own: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def errors(*options: object) -> str:
        assert main("trainer", "", COMMANDS, [*map(str, options)]) == 1
        return capsys.readouterr().err

    train = ["train", "--run-dir", tmp_path / "run", "--data"]
    assert "teaches to find numbers in pictures: --model must be finder" in errors(*train, scenes, "--model", "compact")
    assert "--model finder finds numbers in pictures" in errors(*train, records, "--model", "finder")
    assert "label_smoothing must be 0 for finder" in errors(*train, scenes, "--label-smoothing", "0.1")
    assert not (tmp_path / "run").exists()
    assert "was trained to find numbers" in errors("evaluate", "--run-dir", run_dir, "--data", records)
    assert "must be the run of a model that can read numbers" in errors(
        "export", "--run-dir", run_dir, "--output", tmp_path / "exported"
    )
    with pytest.raises(UserError, match="must be the run of a model that can read numbers"):
        load_reader(run_dir)


def test_the_default_model_of_a_dataset_of_scenes_is_finder(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("trainer", "", COMMANDS, ["train", "--data", str(scenes), "--run-dir", "run", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert 'model = "finder"\n' in printed and "zoom = 0.6\n" in printed


@pytest.mark.parametrize("encoding", ["jpeg", "png", "raw"])
def test_scenes_are_read_whatever_their_encoding(tmp_path: Path, encoding: str) -> None:
    drawn = [draw_scene(index) for index in range(5)]
    images = Records.open(write_scenes(tmp_path, {"train": drawn}, encoding, 3)).scenes("train")
    found = images.take(np.array([4, 0, 2]))
    for row, index in enumerate((4, 0, 2)):
        scene = drawn[index]
        count = len(scene.boxes)
        assert (found.keys[row], found.length[row]) == (scene.key.encode(), count)
        np.testing.assert_allclose(found.boxes[row, :count], scene.boxes, atol=1e-3)
        assert not found.boxes[row, count:].any()
        np.testing.assert_array_equal(found.content[row], scene.content_size)
        most = 40 if encoding == "jpeg" else 0
        assert np.abs(found.images[row].astype(int) - scene.image).max() <= most


def test_a_scene_of_too_many_numbers_or_another_size_is_refused_with_its_key(tmp_path: Path) -> None:
    many = replace(
        draw_scene(1), texts=("1",) * 17, boxes=np.tile(np.array([[0, 0, 9, 9]], np.float32), (17, 1)), key="train/many"
    )
    images = Records.open(write_scenes(tmp_path / "a", {"train": [draw_scene(0), many]})).scenes("train")
    with pytest.raises(UserError, match=r"\(train/many\): a picture must have at most 16 numbers\. Received: 17"):
        images.take(np.array([1]))
    wide = replace(draw_scene(1, 128), key="train/wide")
    images = Records.open(write_scenes(tmp_path / "b", {"train": [draw_scene(0), wide]})).scenes("train")
    with pytest.raises(UserError, match=r"\(train/wide\): image must have the shape of the dataset"):
        images.take(np.array([0, 1]))
