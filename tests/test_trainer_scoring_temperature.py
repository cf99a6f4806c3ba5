"""The temperature against a grid and against a known one, thresholds against counting, and the file that keeps both."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.run.directory import CALIBRATION, WEIGHTS, Run
from trainer.scoring.calibration import calibration_error, equal_groups
from trainer.scoring.calibration_file import (
    make_calibration,
    read_calibration,
    weights_digest,
    write_calibration,
)
from trainer.scoring.decode import Predictions, decode_predictions
from trainer.scoring.metrics import wilson_interval
from trainer.scoring.temperature import at_least, fit_temperature, log_loss, lowest_threshold, thresholds

ONE = Labels(1, "0123456789")
SMALL = Labels(2, "012")


def _numbers(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (count, 4)), rng.normal(0, 2, (count, 2, 3))


def _characters(count: int, scale: float) -> tuple[Predictions, NDArray[np.bool_]]:
    """Predictions whose logits are `scale` times those that the true characters were drawn by."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2.5, (count, 1, 10))
    shares = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(-1, keepdims=True)
    truth = (rng.random((count, 1)) > np.cumsum(shares, -1)).sum(-1)
    predictions = decode_predictions(None, scale * logits, ONE)
    return predictions, predictions.digits[:, 0] == truth


def test_probabilities_at_a_temperature_are_those_of_divided_logits() -> None:
    lengths, digits = _numbers(200)
    found = decode_predictions(lengths, digits, SMALL).with_temperature(2.5)
    divided = decode_predictions(lengths / 2.5, digits / 2.5, SMALL)
    np.testing.assert_allclose(found.length_probabilities, divided.length_probabilities, rtol=1e-12)
    np.testing.assert_allclose(found.digit_probabilities, divided.digit_probabilities, rtol=1e-12)
    same = found.length == divided.length
    np.testing.assert_allclose(found.confidence[same], divided.confidence[same], rtol=1e-12)


def test_a_temperature_changes_no_number_although_another_length_may_become_the_most_probable() -> None:
    lengths, digits = _numbers(200)
    before = decode_predictions(lengths, digits, SMALL)
    after = before.with_temperature(4.0)
    assert after.texts == before.texts and (after.confidence < before.confidence).any()
    assert decode_predictions(lengths / 4, digits / 4, SMALL).texts != before.texts
    assert before.with_temperature(1.0) is before


def test_the_confidence_is_that_of_the_number_that_is_read() -> None:
    found = decode_predictions(*_numbers(200), SMALL).with_temperature(4.0)
    for index, length in enumerate(found.length.tolist()):
        shares = [found.digit_probabilities[index, place].max() for place in range(min(length, 2))]
        expected = found.length_probabilities[index, length] * math.prod(shares)
        assert found.confidence[index] == pytest.approx(expected, rel=1e-12)


def test_single_characters_have_a_temperature_and_no_length() -> None:
    found, _ = _characters(50, 1.0)
    after = found.with_temperature(3.0)
    assert after.length_probabilities.tolist() == [[0, 1, 0]] * 50
    np.testing.assert_allclose(after.confidence, after.digit_probabilities.max((1, 2)), rtol=1e-12)


@pytest.mark.parametrize("scale", [0.6, 1.0, 2.0])
def test_the_factor_that_logits_were_multiplied_by_is_found(scale: float) -> None:
    fit = fit_temperature(*_characters(20_000, scale))
    assert fit.temperature == pytest.approx(scale, rel=0.04) and fit.examples == 20_000
    assert fit.log_loss_after <= fit.log_loss_before


def test_no_temperature_of_a_fine_grid_has_a_lower_loss() -> None:
    predictions, correct = _characters(500, 1.7)
    fit = fit_temperature(predictions, correct)
    losses = {
        temperature: log_loss(predictions.with_temperature(temperature).confidence, correct)
        for temperature in np.geomspace(0.2, 9, 400)
    }
    best = min(losses, key=losses.__getitem__)
    # The targets of the fit leave a little room for answers that were not seen.
    assert fit.temperature == pytest.approx(best, rel=0.03)
    assert fit.log_loss_after == pytest.approx(losses[best], abs=1e-4)


def test_examples_without_a_mistake_do_not_make_the_model_sure_of_everything() -> None:
    logits = np.zeros((300, 1, 10))
    logits[:, 0, 0] = np.linspace(4, 7, 300)  # confidences of 0.86 to 0.99
    predictions = decode_predictions(None, logits, ONE)
    fit = fit_temperature(predictions, np.ones(300, bool))
    # 301 of 302 is the target of each.
    assert 0.5 < fit.temperature < 1
    assert predictions.with_temperature(fit.temperature).confidence.mean() == pytest.approx(301 / 302, abs=0.003)


def test_groups_of_equal_size_have_the_error_of_counting_one_by_one() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(100)
    correct = rng.random(100) < confidence**2
    groups = equal_groups(confidence, correct, 7)
    assert [group.examples for group in groups] == [15, 15, 14, 14, 14, 14, 14]
    pairs, start, error = sorted(zip(confidence.tolist(), correct.tolist(), strict=True)), 0, 0.0
    for group in groups:
        part = pairs[start : start + group.examples]
        sure, right = (math.fsum(pair[place] for pair in part) / len(part) for place in (0, 1))
        assert (group.confidence, group.accuracy) == pytest.approx((sure, right))
        error += abs(sure - right) * len(part) / 100
        start += group.examples
    assert calibration_error(groups) == pytest.approx(error)
    assert len(equal_groups([0.5, 0.7], [True, False])) == 2 and equal_groups([], []) == []


def test_thresholds_count_what_is_answered_and_right_and_ties_are_answered_together() -> None:
    confidence, correct = [0.9, 0.5, 0.9, 0.7, 0.5, 0.2], [True, True, False, True, False, False]
    rows = thresholds(confidence, correct)
    assert [(row.min_confidence, row.answered, row.right) for row in rows] == [
        (0.9, 2, 1),
        (0.7, 3, 2),
        (0.5, 5, 3),
        (0.2, 6, 3),
    ]
    assert rows[1].coverage == 0.5 and rows[1].accuracy_lower == pytest.approx(wilson_interval(2, 3)[0])
    assert at_least(rows, 0.6) == rows[1] and at_least(rows, 0.7) == rows[1] and at_least(rows, 0.95) is None
    assert thresholds([], []) == []


def test_of_many_confidences_those_at_even_steps_of_coverage_are_kept() -> None:
    confidence = np.random.default_rng(0).random(1234)
    rows = thresholds(confidence, confidence > 0.3, most=50)
    assert len(rows) == 50 and rows[-1].answered == 1234
    for row in rows:
        answered = confidence >= row.min_confidence
        assert (row.answered, row.right) == (answered.sum(), (confidence[answered] > 0.3).sum())
    assert np.abs(np.diff([row.answered for row in rows]) - 1234 / 50).max() < 1


def test_the_lowest_threshold_is_one_whose_interval_reaches_the_target() -> None:
    confidence = np.linspace(1, 0, 1000)
    correct = np.arange(1000) < 600
    rows = thresholds(confidence, correct)
    row = lowest_threshold(rows, 0.95)
    assert row is not None and row.accuracy_lower >= 0.95 and row.accuracy > 0.96
    assert all(other.accuracy_lower < 0.95 for other in rows if other.answered > row.answered)
    assert lowest_threshold(rows, 0.999) is None


def _calibrated(untrained: Path, tmp_path: Path) -> Run:
    for path in untrained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    run = Run.load(tmp_path)
    predictions, correct = _characters(400, 2.0)
    write_calibration(run.directory, make_calibration(predictions, correct, weights_digest(run), "0" * 64, "test"))
    return run


def test_a_calibration_is_read_as_it_was_written(untrained: Path, tmp_path: Path) -> None:
    run = _calibrated(untrained, tmp_path)
    predictions, correct = _characters(400, 2.0)
    assert read_calibration(run) == make_calibration(predictions, correct, weights_digest(run), "0" * 64, "test")
    (tmp_path / CALIBRATION).unlink()
    assert read_calibration(run) is None


def test_a_calibration_of_other_weights_is_not_used(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _calibrated(untrained, tmp_path)
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    assert read_calibration(run) is None
    note = f"note: {tmp_path / CALIBRATION} is of other weights, and is not used; "
    assert capsys.readouterr().err == f"{note}`python -m trainer calibrate` replaces it\n"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("temperature", 0, "temperature must be above 0"),
        ("temperature", "hot", "temperature must be"),
        ("weights_sha256", "abc", "weights_sha256 must be a SHA-256"),
        ("thresholds", [{"min_confidence": 2}], r"thresholds\[0\]"),
    ],
)
def test_a_damaged_calibration_is_an_error(
    untrained: Path, tmp_path: Path, name: str, value: object, rule: str
) -> None:
    run = _calibrated(untrained, tmp_path)
    content = json.loads((tmp_path / CALIBRATION).read_text())
    (tmp_path / CALIBRATION).write_text(json.dumps({**content, name: value}))
    with pytest.raises(UserError, match=rule):
        read_calibration(run)


def test_too_few_examples_are_refused() -> None:
    predictions, correct = _characters(99, 1.0)
    rule = "A temperature is fitted on at least 100 examples; validation must have as many. Received: 99"
    with pytest.raises(UserError, match=rule):
        make_calibration(predictions, correct, "0" * 64, "0" * 64, "validation")


def test_the_graph_of_exports_has_the_numbers_and_probabilities_of_predict() -> None:
    import tensorflow as tf

    from trainer.export.saved_model import most_probable

    lengths, digits = (values.astype(np.float32) for values in _numbers(200))
    expected = decode_predictions(lengths, digits, SMALL).with_temperature(3.0)
    graph = most_probable({"length_logits": tf.constant(lengths), "digit_logits": tf.constant(digits)}, 3.0)
    assert graph["length"].numpy().tolist() == expected.length.tolist()
    for name in ("confidence", "length_probabilities", "digit_probabilities"):
        np.testing.assert_allclose(graph[name].numpy(), getattr(expected, name), atol=1e-6)
    one = decode_predictions(None, digits[:, :1], Labels(1, "012"))
    graph = most_probable({"digit_logits": tf.constant(digits[:, :1])}, 3.0)
    np.testing.assert_allclose(graph["confidence"].numpy(), one.with_temperature(3.0).confidence, atol=1e-6)
