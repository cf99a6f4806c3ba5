"""Reliability: intervals, means and the expected calibration error, against counting one by one."""

import math

import numpy as np
import pytest

from trainer.scoring.calibration import reliability


def test_reliability_agrees_with_counting_one_by_one() -> None:
    rng = np.random.default_rng(2)
    confidence, correct = rng.random(300), rng.random(300) < 0.5
    found = reliability(confidence, correct, bins=5)
    error = 0.0
    for index in range(5):
        members = [i for i in range(300) if index / 5 < confidence[i] <= (index + 1) / 5]
        sure = math.fsum(confidence[i] for i in members) / len(members)
        right = sum(bool(correct[i]) for i in members) / len(members)
        assert found.counts[index] == len(members)
        assert found.confidence[index] == pytest.approx(sure) and found.accuracy[index] == pytest.approx(right)
        error += abs(sure - right) * len(members) / 300
    assert found.error == pytest.approx(error)


def test_an_interval_holds_its_upper_end_and_the_first_one_zero() -> None:
    found = reliability([0.0, 0.1, 0.2, 1.0], [False, False, True, True])
    assert found.counts.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert np.isnan(found.accuracy[2:9]).all()
    # (2 x 0.05 + 1 x 0.8 + 1 x 0) / 4
    assert found.error == pytest.approx(0.225)


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [([], [], "not empty"), ([0.5], [True, False], r"shapes \(1,\) and \(2,\)"), ([1.5], [True], r"0\.\.1.*1\.5")],
)
def test_what_is_no_confidence_is_refused(confidence: list[float], correct: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reliability(confidence, correct)
