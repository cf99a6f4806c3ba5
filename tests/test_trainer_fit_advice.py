"""Warnings where little is trained on, few steps are made or hardly anything validates."""

from dataclasses import replace
from pathlib import Path

import pytest

from tfrecords.dataset.manifest import Manifest, SplitInfo
from trainer.fit.advice import advice
from trainer.run.config import TrainConfig


@pytest.fixture
def manifest(records: Path) -> Manifest:
    return Manifest.load(records)


def _with(manifest: Manifest, train: int, validation: int | None) -> Manifest:
    splits = {"train": SplitInfo(train, 5 * train, [])}
    if validation is not None:
        splits["validation"] = SplitInfo(validation, validation, [])
    return replace(manifest, splits=splits)


def test_a_dataset_of_ordinary_size_gives_no_warning(manifest: Manifest) -> None:
    assert list(advice(TrainConfig(), _with(manifest, 2000, 20), 100)) == []


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (None, "there are no validation pictures: the last epoch is kept."),
        (0, "there are no validation pictures: the last epoch is kept."),
        (1, "there are 1 validation picture: they hardly show which epoch is the best."),
        (19, "there are 19 validation pictures: they hardly show which epoch is the best."),
    ],
)
def test_few_validation_pictures_are_counted(manifest: Manifest, validation: int | None, words: str) -> None:
    (line,) = advice(TrainConfig(), _with(manifest, 2000, validation), 100)
    assert line == f"{words} `prepare --validation-fraction` draws more."


def test_few_validation_pictures_of_a_first_snapshot_are_named_where_they_choose_among_all_epochs(
    manifest: Manifest,
) -> None:
    (line,) = advice(TrainConfig(follow=True), _with(manifest, 2000, 499), 100)
    assert line.startswith("the 499 validation pictures of the first snapshot choose the weights to keep, whatever ")
    for config, count in (
        (TrainConfig(follow=True), 500),
        (TrainConfig(follow=True, keep="last"), 20),
        (TrainConfig(at=3), 20),
    ):
        assert list(advice(config, _with(manifest, 2000, count), 100)) == []


@pytest.mark.parametrize("validation", [None, 0, 1, 19])
def test_validation_pictures_are_not_missed_where_the_last_epoch_is_kept(
    manifest: Manifest, validation: int | None
) -> None:
    assert list(advice(TrainConfig(keep="last"), _with(manifest, 2000, validation), 100)) == []


@pytest.mark.parametrize(
    ("config", "steps", "warns"),
    [
        (TrainConfig(epochs=2), 7, True),  # the warm-up lasts two epochs by default
        (TrainConfig(epochs=1), 1, True),
        (TrainConfig(epochs=3), 7, False),
        (TrainConfig(epochs=1, warmup_epochs=0.5), 2, False),
        (TrainConfig(epochs=1, warmup_epochs=0.0), 1, False),
    ],
)
def test_a_warm_up_that_outlasts_the_run_is_named(
    manifest: Manifest, config: TrainConfig, steps: int, warns: bool
) -> None:
    found = list(advice(config, _with(manifest, 2000, 20), steps))
    assert len(found) == warns
    if warns:
        total, warmup = config.epochs * steps, int(config.warmup_epochs * steps)
        assert found[0].startswith(f"the run has {total} steps, and its warm-up takes {warmup}: ")


def test_the_pretrained_weights_are_suggested_where_they_fit(manifest: Manifest) -> None:
    few = _with(manifest, 1999, 20)
    (line,) = advice(TrainConfig(), few, 100)
    assert line.startswith("1,999 training pictures are few to start from nothing: --init pretrained starts ")
    crop = {**manifest.config["crop"], "growth": 1.0}
    for config, other in (
        (TrainConfig(init="pretrained"), few),
        (TrainConfig(model="vgg"), few),
        (TrainConfig(model="mnist_cnn"), few),
        (TrainConfig(), replace(few, config={**manifest.config, "crop": crop})),
    ):
        assert list(advice(config, other, 100)) == []
    crop = {**crop, "record_size": 28, "crop_size": 32, "aspect": 4.0}
    assert list(advice(TrainConfig(), replace(few, config={**manifest.config, "crop": crop}), 100)) == [line]
