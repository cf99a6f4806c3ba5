"""A run and a dataset that was cut in another way than its own: refused by every command, in one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.errors import UserError
from trainer.__main__ import COMMANDS
from trainer.run.cut import check_cut, cut_of, dataset_cut, differences, run_cut
from trainer.run.directory import CONFIG, Run

OURS = {"record_size": 54, "crop_size": 64, "growth": 0.3, "channels": 3, "aspect": 1.0}

Recut = Callable[..., Path]


@pytest.fixture
def recut(records: Path, tmp_path: Path) -> Recut:
    """Returns a function that writes the manifest of a dataset with another cut; it has no shards."""

    def write(channels: int = 3, **crop: Any) -> Path:
        content = json.loads((records / MANIFEST).read_text())
        content["config"]["crop"].update(crop)
        size = content["config"]["crop"]["record_size"]
        content["image"]["shape"] = [size, size, channels]
        folder = tmp_path / "recut"
        folder.mkdir(exist_ok=True)
        (folder / MANIFEST).write_text(json.dumps(content))
        return folder

    return write


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, ""),
        ({"growth": 0.30}, ""),
        ({"record_size": 32, "crop_size": 40}, "record_size 32 instead of 54, crop_size 40 instead of 64"),
        ({"record_size": 90, "crop_size": 100}, "record_size 90 instead of 54, crop_size 100 instead of 64"),
        ({"growth": 3}, "growth 3 instead of 0.3"),
        ({"crop_size": 54}, "crop_size 54 instead of 64"),
        ({"channels": 1}, "channels 1 instead of 3"),
    ],
)
def test_what_differs_is_named(other: dict[str, Any], expected: str) -> None:
    assert ", ".join(differences({**OURS, **other}, OURS).values()) == expected


@pytest.mark.parametrize("name", ["growth", "crop_size"])
def test_another_framing_can_be_meant(name: str) -> None:
    found = {**OURS, name: 60}
    check_cut(found, OURS, "It must be so", allow_other_crop=True)
    with pytest.raises(UserError, match=r"^It must be so; --allow-other-crop accepts these differences\. Received: "):
        check_cut(found, OURS, "It must be so", allow_other_crop=False)
    with pytest.raises(UserError, match=r"^It must be so\. Received: "):
        check_cut(found, OURS, "It must be so")


@pytest.mark.parametrize("name", ["record_size", "channels"])
def test_another_size_of_image_never_fits(name: str) -> None:
    with pytest.raises(UserError, match=rf"^It must be so\. Received: .*{name} 1 instead of {OURS[name]}"):
        check_cut({**OURS, name: 1, "growth": 1}, OURS, "It must be so", allow_other_crop=True)


def test_what_is_not_known_is_not_compared() -> None:
    assert differences(cut_of({"height": 3}, None), OURS) == {} == differences(OURS, cut_of("crop", "abc"))


STATED = {name: value for name, value in OURS.items() if name != "channels"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r"must state in config\.crop how its .* cut\. Received: no record_size, crop_size, growth$"),
        ({"crop": {"growth": 1}}, r"must state .* Received: no record_size, crop_size$"),
        ({"crop": {**STATED, "record_size": 54.0}}, r"config\.crop: record_size must be an integer\. Received: 54\.0$"),
        ({"crop": {**STATED, "growth": float("nan")}}, r"config\.crop is wrong: growth must be 0\.\.10\."),
    ],
)
def test_a_manifest_states_its_cut(records: Path, config: dict[str, Any], message: str) -> None:
    manifest = Manifest.load(records)
    assert dataset_cut(replace(manifest, config={"crop": {**STATED, "growth": 1}}))["growth"] == 1
    with pytest.raises(UserError, match=message):
        dataset_cut(replace(manifest, config=config))


def test_a_run_has_the_cut_of_its_dataset(records: Path, untrained: Path) -> None:
    assert run_cut(Run.load(untrained)) == OURS == dataset_cut(Manifest.load(records))


@pytest.mark.parametrize("crop", [{"crop_size": 40, "record_size": 32}, {"crop_size": 100, "record_size": 90}])
@pytest.mark.parametrize("chosen", [True, False])
def test_evaluate_refuses_images_of_another_size(
    recut: Recut, untrained: Path, capsys: pytest.CaptureFixture[str], crop: dict[str, int], chosen: bool
) -> None:
    data = recut(**crop)
    run_dir = str(untrained) if chosen else "pretrained"
    for more in ([], ["--allow-other-crop"]):
        assert main("trainer", "", COMMANDS, ["evaluate", "--run-dir", run_dir, "--data", str(data), *more]) == 1
        assert capsys.readouterr().err == (
            f"error: {data} must be cut as the images that {run_dir} was trained on. Received: record_size "
            f"{crop['record_size']} instead of 54, crop_size {crop['crop_size']} instead of 64\n"
        )
    assert [path.name for path in data.parent.iterdir()] == ["recut"]


def test_evaluate_takes_another_framing_only_when_told(
    recut: Recut, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["evaluate", "--run-dir", str(untrained), "--data", str(recut(growth=3.0))]
    assert main("trainer", "", COMMANDS, options) == 1
    error = capsys.readouterr().err
    assert error.endswith("; --allow-other-crop accepts these differences. Received: growth 3.0 instead of 0.3\n")
    assert main("trainer", "", COMMANDS, [*options, "--allow-other-crop"]) == 1
    assert "there is no such shard" in capsys.readouterr().err


def test_train_starts_from_no_weights_of_another_framing(
    recut: Recut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(recut(growth=1.0)), "--run-dir", str(tmp_path / "run"), "--init", "pretrained"]
    assert main("trainer", "", COMMANDS, ["train", *options]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and error.endswith("Received: growth 1.0 instead of 0.3")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_a_dataset_of_another_cut(
    recut: Recut, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / CONFIG).write_bytes((untrained / CONFIG).read_bytes())
    assert main("trainer", "", COMMANDS, ["train", "--data", str(recut(growth=2.0)), "--run-dir", str(run_dir)]) == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "already contains a run" in error and "dataset.crop.growth 2.0 instead of 0.3" in error
    assert [path.name for path in run_dir.iterdir()] == [CONFIG]


def test_a_report_shows_no_images_of_another_cut(
    recut: Recut, untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recut(growth=2.0)
    page = str(tmp_path / "page.html")
    assert (
        main("trainer", "", COMMANDS, ["report", "--run-dir", str(untrained), "--data", str(data), "--output", page])
        == 1
    )
    rule = "must be cut as the images of the run: use --data for the dataset that was evaluated"
    assert capsys.readouterr().err == f"error: {data} {rule}. Received: growth 2.0 instead of 0.3\n"
    assert not Path(page).exists()


def test_a_report_of_images_that_were_scored_on_purpose_shows_them(
    recut: Recut, untrained: Path, tmp_path: Path
) -> None:
    data = recut(growth=2.0)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / CONFIG).write_bytes((untrained / CONFIG).read_bytes())
    evaluation = {"split": "test", "data": str(data), "cut": {**OURS, "growth": 2.0}}
    (run_dir / "evaluation-test.json").write_text(json.dumps(evaluation))
    assert main("trainer", "", COMMANDS, ["report", "--run-dir", str(run_dir)]) == 0
    page = (run_dir / "report.html").read_text()
    assert "The images were cut in another way than those of training: growth 2.0 instead of 0.3." in page
