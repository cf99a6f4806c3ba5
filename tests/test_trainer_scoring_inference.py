"""Loss, decoding and scores, against brute force and float64 NumPy."""

import itertools
import math

import keras
import numpy as np
import pytest

from tfrecords.record.labels import Labels
from trainer.scoring.decode import Predictions, decode_predictions
from trainer.scoring.losses import evenness_loss, number_loss
from trainer.scoring.metrics import correct_numbers, coverage_at, coverage_curve, score, wilson_interval


def _logits(batch: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (batch, 7)), rng.normal(0, 2, (batch, 5, 10))


def _padded(number: tuple[int, ...]) -> np.ndarray:
    return Labels().digits(Labels().text(number))


def _log_softmax(values: np.ndarray) -> np.ndarray:
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def _loss(length_logits: np.ndarray, digit_logits: np.ndarray, numbers: list[tuple[int, ...]]) -> np.ndarray:
    length = np.array([len(number) for number in numbers])
    digits = np.stack([_padded(number) for number in numbers])
    return keras.ops.convert_to_numpy(number_loss(length_logits, digit_logits, length, digits))


def test_the_loss_is_minus_the_log_of_the_number_s_probability() -> None:
    numbers = [(7,), (1, 9), (0, 0, 0), (2, 0, 2, 6), (1, 3, 5, 4, 5)]
    length_logits, digit_logits = _logits(len(numbers))
    expected = [
        -_log_softmax(length_logits)[row, len(number)]
        - sum(_log_softmax(digit_logits)[row, place, digit] for place, digit in enumerate(number))
        for row, number in enumerate(numbers)
    ]
    np.testing.assert_allclose(_loss(length_logits, digit_logits, numbers), expected, rtol=1e-5)


def test_places_behind_the_last_digit_change_neither_loss_nor_gradient() -> None:
    import tensorflow as tf

    length_logits, digit_logits = _logits(1)
    other = digit_logits.copy()
    other[:, 2:] += 100.0
    np.testing.assert_array_equal(_loss(length_logits, digit_logits, [(1, 9)]), _loss(length_logits, other, [(1, 9)]))
    variable = tf.Variable(digit_logits)
    with tf.GradientTape() as tape:
        loss = number_loss(tf.constant(length_logits), variable, tf.constant([2]), tf.constant([Labels().digits("19")]))
    gradient = tape.gradient(loss, variable).numpy()
    assert np.abs(gradient[:, :2]).min() > 0 and (gradient[:, 2:] == 0).all()


def test_a_number_of_more_than_five_digits_is_the_last_length_class() -> None:
    length_logits, digit_logits = _logits(1)
    digits = np.array([[1, 3, 5, 4, 5]])
    nine, six = (number_loss(length_logits, digit_logits, np.array([length]), digits) for length in (9, 6))
    np.testing.assert_array_equal(nine, six)
    assert float(six[0]) > -_log_softmax(length_logits)[0, 6]


def test_the_right_number_of_a_certain_model_costs_nothing_and_a_wrong_one_much() -> None:
    length_logits, digit_logits = np.full((2, 7), -50.0), np.full((2, 5, 10), -50.0)
    length_logits[:, 2] = digit_logits[:, 0, 1] = digit_logits[:, 1, 9] = 50.0
    right, wrong = _loss(length_logits, digit_logits, [(1, 9), (1, 8)])
    assert right < 1e-6 and wrong > 99


def test_the_answer_is_the_most_probable_of_all_lengths_and_digits() -> None:
    length_logits, digit_logits = _logits(40)
    # Three digits of three classes, so that every number can be tried.
    digit_logits[:, :, 3:] = -1e9
    digit_logits[:, 3:, 1:] = -1e9
    predictions = decode_predictions(length_logits, digit_logits)
    log_length, log_digit = _log_softmax(length_logits), _log_softmax(digit_logits)
    for row in range(40):
        best = max(
            (
                (log_length[row, length] + sum(log_digit[row, p, d] for p, d in enumerate(digits)), length, digits)
                for length in range(7)
                for digits in itertools.product(range(3), repeat=min(length, 5))
            ),
            key=lambda candidate: candidate[0],
        )
        assert predictions.length[row] == best[1]
        assert tuple(predictions.digits[row, : min(best[1], 5)]) == best[2]
        assert predictions.confidence[row] == pytest.approx(math.exp(best[0]))


def test_the_joint_answer_differs_from_the_heads_when_a_digit_is_unsure() -> None:
    # Length 2 is a little likelier than 1, but its second digit is anyone's guess.
    length_logits, digit_logits = np.full((1, 7), -50.0), np.zeros((1, 5, 10))
    length_logits[0, 1:3] = 1.0, 1.2
    digit_logits[0, 0, 7] = 20.0
    assert decode_predictions(length_logits, digit_logits).texts == ["7"]


def test_no_digit_and_more_than_five_are_written_so() -> None:
    length_logits, digit_logits = np.full((2, 7), -50.0), np.zeros((2, 5, 10))
    length_logits[0, 0] = length_logits[1, 6] = 50.0
    digit_logits[:, :, 4] = 30.0
    assert decode_predictions(length_logits, digit_logits).texts == ["", "44444…"]


def _predictions(answers: list[tuple[int, ...]], confidence: list[float]) -> Predictions:
    digits = np.zeros((len(answers), 5), np.int64)
    for row, answer in enumerate(answers):
        digits[row, : len(answer)] = answer
    length = np.array([len(answer) for answer in answers])
    return Predictions(
        length, digits, np.array(confidence), np.zeros((len(answers), 7)), np.zeros((len(answers), 5, 10))
    )


TRUTH = [(1, 9), (2, 3), (5,), (2, 1, 0)]
ANSWERS = [(1, 9), (2, 8), (5, 5), (2, 1, 0)]


def _truth() -> tuple[np.ndarray, np.ndarray]:
    return np.array([len(number) for number in TRUTH]), np.stack([_padded(number) for number in TRUTH])


def test_a_number_is_right_when_length_and_every_digit_are() -> None:
    correct = correct_numbers(_predictions(ANSWERS, [1, 1, 1, 1]), *_truth())
    assert correct.tolist() == [True, False, False, True]


def test_scores_are_those_counted_by_hand() -> None:
    scores = score(_predictions(ANSWERS, [0.9, 0.8, 0.4, 0.7]), *_truth())
    assert scores["num_examples"] == 4
    assert scores["whole_number_accuracy"] == 2 / 4
    assert scores["digit_accuracy"] == 7 / 8
    assert scores["length_accuracy"] == 3 / 4
    assert scores["coverage_at_98"] == 1 / 4
    assert [row["accuracy"] for row in scores["position_accuracy"]] == [1.0, 2 / 3, 1.0]
    assert scores["by_length"][0] == {"length": 1, "num_examples": 1, "whole_number_accuracy": 0.0}
    confusion = np.array(scores["confusion"])
    assert confusion.sum() == 8 and confusion[3, 8] == 1 and np.trace(confusion) == 7


def test_coverage_is_the_largest_share_that_keeps_the_accuracy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        confidence = rng.integers(0, 12, 60) / 12
        correct = rng.random(60) < 0.6 + 0.4 * confidence
        shares = [(confidence >= least).mean() for least in confidence if correct[confidence >= least].mean() >= 0.9]
        assert coverage_at(*coverage_curve(confidence, correct), 0.9) == pytest.approx(max(shares, default=0.0))


def test_equal_confidences_are_answered_together_or_not_at_all() -> None:
    assert coverage_at(*coverage_curve([0.5, 0.5], [True, False]), 0.9) == 0.0
    assert coverage_at(*coverage_curve([0.5, 0.5], [True, True]), 0.9) == 1.0


def test_the_interval_is_wilson_s() -> None:
    # Example of Newcombe 1998 (Statistics in Medicine 17, table I): 81 of 263, 0.2553 to 0.3662.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_evenness_loss_is_that_of_targets_spread_over_all_classes() -> None:
    length_logits, digit_logits = _logits(2)
    digits = np.stack([Labels().digits("407"), Labels().digits("")])
    losses = keras.ops.convert_to_numpy(evenness_loss(length_logits, digit_logits, digits))
    length_log, digit_log = _log_softmax(length_logits), _log_softmax(digit_logits)
    expected = -length_log.mean(-1) - np.array([digit_log[0, :3].mean(-1).sum(), 0.0])
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
