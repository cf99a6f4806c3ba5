"""Datasets of single characters: models without a head for the length, from the loss to the report."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tests.untrained import make_run
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.commands.evaluate import _check_labels, _print_summary
from trainer.export.saved_model import most_probable
from trainer.fit.errors import readable
from trainer.fit.step import _count_right
from trainer.input.augment import centre_window, random_window, window_places
from trainer.models import MODELS, build_model
from trainer.reader import Reader
from trainer.report import render
from trainer.report.inputs import load_run
from trainer.run.directory import CONFIG, Run, reads_length, write_json
from trainer.run.transfer import transfer
from trainer.run.weights import load_model
from trainer.scoring.decode import decode_predictions
from trainer.scoring.inference import make_forward, predict_split
from trainer.scoring.losses import evenness_loss, number_loss
from trainer.scoring.metrics import score
from trainer.scoring.prediction_output import prediction_json

ONE = Labels(1)
LETTERS = Labels(1, "xyz")


def _logits(count: int, characters: int = 10) -> np.ndarray:
    return np.random.default_rng(count).normal(0, 3, (count, 1, characters)).astype(np.float32)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64))
    return exponents / exponents.sum(-1, keepdims=True)


def test_the_loss_is_that_of_the_character_alone() -> None:
    logits, digits = _logits(30), np.random.default_rng(0).integers(0, 10, (30, 1))
    length = np.ones(30, np.int64)
    expected = -np.log(_probabilities(logits)[np.arange(30), 0, digits[:, 0]])
    np.testing.assert_allclose(number_loss(None, logits, length, digits), expected, rtol=1e-5)
    even = -np.log(_probabilities(logits)).mean((1, 2))
    np.testing.assert_allclose(evenness_loss(None, logits, digits), even, rtol=1e-5)
    # The gradient of a cross-entropy: probabilities less the truth.
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = number_loss(None, variable, tf.constant(length), tf.constant(digits))
    truth = np.eye(10)[digits]
    np.testing.assert_allclose(tape.gradient(loss, variable), _probabilities(logits) - truth, atol=1e-6)


def test_the_prediction_is_the_most_probable_character_with_its_probability() -> None:
    logits = _logits(20, 3)
    found = decode_predictions(None, logits, LETTERS)
    assert (found.length == 1).all() and found.texts == ["xyz"[index] for index in logits[:, 0].argmax(-1)]
    np.testing.assert_allclose(found.confidence, _probabilities(logits).max((1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(found.length_probabilities, np.tile([0.0, 1.0, 0.0], (20, 1)))
    np.testing.assert_allclose(found.digit_probabilities, _probabilities(logits), rtol=1e-6)
    assert json.loads(json.dumps(prediction_json("a.png", found, 0)))["length_probabilities"] == [0.0, 1.0, 0.0]
    graph = most_probable({"digit_logits": tf.constant(logits)})
    for name in ("length", "digits", "confidence", "length_probabilities", "digit_probabilities"):
        np.testing.assert_allclose(graph[name], getattr(found, name), rtol=1e-5)
    assert len(decode_predictions(None, logits[:0], LETTERS).length) == 0
    with pytest.raises(ValueError, match=r"shapes \(\(7,\), \(5, 10\)\)"):
        decode_predictions(None, logits)


def test_steps_count_the_examples_whose_character_is_right() -> None:
    logits, digits = _logits(50), np.random.default_rng(1).integers(0, 10, (50, 1))
    digits[:9] = logits[:9].argmax(-1)
    expected = (logits.argmax(-1) == digits).sum()
    found = _count_right({"digit_logits": tf.constant(logits)}, tf.ones(50, tf.int64), tf.constant(digits))
    assert float(found) == expected >= 9


def test_a_split_is_scored_without_lengths_by_one_window_and_by_several() -> None:
    inputs = keras.Input((4, 4, 1))
    corner = keras.layers.Flatten()(inputs[:, :1, :3] / 40.0)
    model = keras.Model(inputs, {"digit_logits": keras.layers.Reshape((1, 3))(corner)})
    images = np.random.default_rng(0).integers(0, 256, (6, 9, 8, 1), np.uint8)
    digits = np.array([[0], [1], [2], [0], [1], [2]])
    batch = {"image": images, "length": np.ones(6, np.int64), "digits": digits, "key": np.array(list("abcdef"))}
    batches = [{name: tf.constant(value) for name, value in batch.items()}]
    windows = [centre_window(images, (4, 4))]
    windows += [random_window(images, (4, 4), tf.constant([place] * 6, tf.float32)) for place in window_places(3)]
    each = np.stack([_probabilities(np.asarray(window, np.float64)[:, :1, :3, 0] / 40.0) for window in windows])
    for crops, probabilities in ((1, each[0]), (4, each.mean(0))):
        found = predict_split(make_forward(model, crops), batches, LETTERS)
        np.testing.assert_allclose(found.predictions.digit_probabilities, probabilities, atol=1e-5)
        assert found.loss == pytest.approx(-np.log(probabilities[np.arange(6), 0, digits[:, 0]]).mean(), rel=1e-4)
        scores = score(found.predictions, found.length, found.digits)
        right = (probabilities[:, 0].argmax(-1) == digits[:, 0]).mean()
        assert scores["whole_number_accuracy"] == scores["digit_accuracy"] == pytest.approx(right)
        assert scores["length_accuracy"] == 1 and [row["length"] for row in scores["by_length"]] == [1]


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_has_one_head_unless_the_length_is_read(name: str) -> None:
    if name in ("goodfellow", "vgg"):
        pytest.skip("of tens of millions of weights; tests/test_trainer_labels.py builds them")
    assert list(build_model(name, (28, 28, 1), ONE).output) == ["digit_logits"]
    both = build_model(name, (28, 28, 1), ONE, reads_length=True).output
    assert {head: value.shape for head, value in both.items()} == {
        "length_logits": (None, 3),
        "digit_logits": (None, 1, 10),
    }


@pytest.mark.parametrize(
    ("given", "wanted", "told"),
    [
        (
            (ONE, True),
            (ONE, False),
            "left out: length_logits; all other layers are kept. The weights are of numbers of at most one character, "
            "the dataset of single characters.",
        ),
        (
            (ONE, False),
            (ONE, True),
            "new: length_logits; all other layers are kept. The weights are of single characters, the dataset of "
            "numbers of at most one character.",
        ),
        (
            (Labels(), True),
            (ONE, False),
            "kept in part: flat_digit_logits; left out: length_logits; all other layers are kept. The weights are of "
            "numbers of up to 5 of '0123456789', the dataset of numbers of up to 1 of '0123456789'.",
        ),
        (
            (ONE, False),
            (Labels(), True),
            "new: length_logits; kept in part: flat_digit_logits; all other layers are kept. The weights are of "
            "numbers of up to 1 of '0123456789', the dataset of numbers of up to 5 of '0123456789'.",
        ),
        ((ONE, False), (ONE, False), ""),
    ],
)
def test_weights_go_between_models_with_and_without_a_head_for_the_length(
    given: tuple[Labels, bool], wanted: tuple[Labels, bool], told: str
) -> None:
    source, target = (tiny.build((12, 12, 1), *one) for one in (given, wanted))
    fresh = {weight.path: weight.numpy() for weight in target.weights}
    learned = {weight.path: weight.numpy() for weight in source.weights}
    assert transfer(source, given[0], target, wanted[0]) == told
    for weight in target.weights:
        layer = weight.path.partition("/")[0]
        if layer == "flat_digit_logits":
            # The first position's ten characters come first.
            np.testing.assert_array_equal(weight.numpy()[..., :10], learned[weight.path][..., :10])
        else:
            expected = fresh if layer == "length_logits" else learned
            np.testing.assert_array_equal(weight.numpy(), expected[weight.path])


def test_a_run_that_does_not_state_it_reads_the_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    make_run(tmp_path / "run", ONE, (12, 12, 1), model="tiny")
    run = Run.load(tmp_path / "run")
    assert not run.reads_length and list(load_model(run).output) == ["digit_logits"]
    found = Reader(run).predict(np.zeros((2, 12, 12, 1), np.uint8))
    assert (found.length == 1).all() and all(len(text) == 1 for text in found.texts)
    del run.content["reads_length"]
    write_json(tmp_path / "run" / CONFIG, run.content)
    old = Run.load(tmp_path / "run")
    assert old.reads_length and old.content["reads_length"] is True
    # Its weights would have a head for the length.
    with pytest.raises(UserError, match=r"must hold the weights of tiny\. Received: "):
        load_model(old)
    content = {**run.content, "reads_length": False, "dataset": {**run.content["dataset"], "max_length": 5}}
    write_json(tmp_path / "run" / CONFIG, content)
    with pytest.raises(UserError, match="reads_length must be true for numbers of up to 5 of '0123456789'"):
        Run.load(tmp_path / "run")


def _manifest(**changes: Any) -> Manifest:
    manifest = Manifest.load(Path(__file__).parent / "schema1" / "raw")
    config = {**manifest.config, "backgrounds": 0.0, **changes.pop("config", {})}
    return replace(manifest, config=config, **changes)


def test_only_datasets_of_single_characters_need_no_length() -> None:
    assert reads_length(_manifest()) and not reads_length(_manifest(labels=ONE))
    assert reads_length(_manifest(labels=Labels(2))) and not reads_length(_manifest(labels=LETTERS))
    assert reads_length(_manifest(labels=ONE, config={"backgrounds": 0.1}))


def test_an_example_without_a_character_is_named_and_refused() -> None:
    batch = {"length": tf.constant([1, 1, 0, 1]), "key": tf.constant(["a", "b", "train/7.png#2", "d"])}
    assert list(readable([batch], Path("records"), "train")) == [batch]
    good = {name: value[:2] for name, value in batch.items()}
    empty = {name: value[:0] for name, value in batch.items()}
    assert len(list(readable([good, empty], Path("records"), "train", reads_length=False))) == 2
    with pytest.raises(UserError) as raised:
        list(readable([good, batch], Path("records"), "train", reads_length=False))
    assert str(raised.value) == (
        "records, split train: each number must be one character, because the model reads no length. "
        "Received: 0 characters in train/7.png#2"
    )


def test_evaluate_refuses_crops_without_a_number_for_a_model_that_reads_no_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    make_run(tmp_path / "run", ONE, (12, 12, 1), model="tiny")
    run = Run.load(tmp_path / "run")
    args = argparse.Namespace(run_dir=str(run.directory), data=Path("records"))
    _check_labels(args, run, _manifest(labels=ONE))
    assert capsys.readouterr().err == ""
    rule = "was trained on single characters, and must be scored on those. Received: records, which has crops without"
    with pytest.raises(UserError, match=rule):
        _check_labels(args, run, _manifest(labels=ONE, config={"backgrounds": 0.1}))
    with pytest.raises(UserError, match=r"trained on numbers of up to 1 of .* Received: numbers of up to 5 of"):
        _check_labels(args, run, _manifest())
    # A model that reads the length reads single characters too.
    _check_labels(args, replace(run, reads_length=True), _manifest(labels=ONE))
    _check_labels(args, replace(run, reads_length=True), _manifest(labels=ONE, config={"backgrounds": 0.1}))
    found = decode_predictions(None, _logits(8), ONE)
    scores = score(found, np.ones(8, np.int64), found.digits)
    for reads in (True, False):
        _print_summary(scores, "test", tmp_path / "evaluation-test.json", reads)
        assert ("length_accuracy" in capsys.readouterr().out) is reads


@pytest.mark.parametrize("reads", [True, False, None])
def test_the_report_of_single_characters_has_no_lengths(tmp_path: Path, reads: bool | None) -> None:
    found = decode_predictions(None, _logits(40), ONE)
    digits = found.digits.copy()
    digits[:4] = (digits[:4] + 1) % 10
    scores = score(found, np.ones(40, np.int64), digits)
    write_json(tmp_path / CONFIG, {"model": "mnist_cnn", **({} if reads is None else {"reads_length": reads})})
    for split, accuracy in (("test", 0.9), ("train", 0.95)):
        content = {"split": split, "loss": 0.5, **scores, "whole_number_accuracy": accuracy}
        write_json(tmp_path / f"evaluation-{split}.json", content)
    line = {"epoch": 1, "train_loss": 1.0, "validation_loss": 1.1, "validation_digit_accuracy": 0.8}
    line |= {"train_whole_number_accuracy": 0.7, "validation_whole_number_accuracy": 0.8}
    (tmp_path / "history.jsonl").write_text(json.dumps(line) + "\n")
    page = render(load_run(tmp_path)).html
    of_lengths = ("Whole-number accuracy", "Length accuracy", "Digit accuracy", 'id="lengths"', 'href="#lengths"')
    is_single = reads is False
    for words in (*of_lengths, "validation, digits"):
        assert (words in page) is not is_single, words
    single = ('<span class="label">Accuracy</span>', "whose digit is predicted right. Each picture has one")
    for words in single:
        assert (words in page) is is_single, words
    assert "90.0\u00a0%" in page and "95.0\u00a0%" in page and "Confused digits" in page
