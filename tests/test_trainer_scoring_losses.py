"""The number's likelihood against every number there is, float64 NumPy, and hand-made probabilities."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.record.labels import Labels
from trainer.scoring.losses import number_loss

PAD = Labels().pad


def _logits(batch: int, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(batch)
    length = generator.normal(0, scale, (batch, 7)).astype(np.float32)
    return length, generator.normal(0, scale, (batch, 5, 10)).astype(np.float32)


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64))
    return np.log(exponents / exponents.sum(-1, keepdims=True))


def _every_number() -> tuple[np.ndarray, np.ndarray]:
    """All 111,111 numbers of none to five digits: (numbers,) lengths, (numbers, 5) padded digits."""
    lengths, rows = [], []
    for length in range(6):
        digits = np.array(list(itertools.product(range(10), repeat=length)), np.int64).reshape(10**length, length)
        rows.append(np.pad(digits, ((0, 0), (0, 5 - length)), constant_values=PAD))
        lengths.append(np.full(10**length, length))
    return np.concatenate(lengths), np.concatenate(rows)


def test_probabilities_of_all_numbers_sum_to_one() -> None:
    length, digits = _every_number()
    assert len(length) == 111_111
    length_logits, digit_logits = _logits(1)
    shared = np.repeat(length_logits, len(length), 0), np.repeat(digit_logits, len(length), 0)
    probabilities = np.exp(-np.asarray(number_loss(shared[0], shared[1], length, digits), np.float64))
    # "More than five" is a class too: its 100,000 beginnings share what is left.
    more = np.exp(
        -np.asarray(number_loss(shared[0][-100_000:], shared[1][-100_000:], np.full(100_000, 6), digits[-100_000:]))
    )
    assert probabilities.sum() + more.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    by_length = np.exp(_log_probabilities(length_logits))[0]
    for value in range(6):
        assert probabilities[length == value].sum() == pytest.approx(by_length[value], abs=1e-5)


def test_it_is_what_float64_numpy_says() -> None:
    length, digits = _every_number()
    chosen = np.random.default_rng(1).choice(len(length), 500, replace=False)
    length, digits = length[chosen], digits[chosen]
    length_logits, digit_logits = _logits(500)
    length_log, digit_log = _log_probabilities(length_logits), _log_probabilities(digit_logits)
    expected = [
        -length_log[row, length[row]] - sum(digit_log[row, place, digits[row, place]] for place in range(length[row]))
        for row in range(500)
    ]
    losses = np.asarray(number_loss(length_logits, digit_logits, length, digits))
    assert losses.dtype == np.float32 and losses.shape == (500,)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_hand_made_probabilities_give_the_product() -> None:
    length = np.log(np.array([[0.05, 0.1, 0.5, 0.2, 0.05, 0.05, 0.05]], np.float32))
    digits = np.log(np.full((1, 5, 10), 0.1, np.float32))
    digits[0, 0] = np.log([0.02] * 4 + [0.82] + [0.02] * 5)
    digits[0, 1] = np.log([0.25] + [0.05] * 5 + [0.2] + [0.1] * 3)
    for number, probability in (
        ("", 0.05),
        ("4", 0.1 * 0.82),
        ("40", 0.5 * 0.82 * 0.25),
        ("466", 0.2 * 0.82 * 0.2 * 0.1),
    ):
        loss = number_loss(length, digits, np.array([len(number)]), Labels().digits(number)[None])
        assert float(loss[0]) == pytest.approx(-math.log(probability), rel=1e-5), number


@pytest.mark.parametrize("length", [6, 7, 20])
def test_all_lengths_above_five_are_one_class_and_five_digits_count(length: int) -> None:
    length_logits, digit_logits = _logits(1)
    digits = np.array([[1, 2, 3, 4, 5]])
    expected = -_log_probabilities(length_logits)[0, 6]
    expected -= sum(_log_probabilities(digit_logits)[0, place, place + 1] for place in range(5))
    loss = number_loss(length_logits, digit_logits, np.array([length]), digits)
    assert float(loss[0]) == pytest.approx(expected, rel=1e-5)


def test_places_behind_the_number_get_no_gradient_and_the_others_do() -> None:
    length_logits, digit_logits = map(tf.constant, _logits(6))
    length = np.arange(6)
    digits = np.array([[7] * count + [PAD] * (5 - count) for count in range(6)])
    with tf.GradientTape() as tape:
        tape.watch((length_logits, digit_logits))
        loss = tf.reduce_sum(number_loss(length_logits, digit_logits, length, digits))
    length_gradient, digit_gradient = (part.numpy() for part in tape.gradient(loss, (length_logits, digit_logits)))
    assert (digit_gradient[digits == PAD] == 0).all()
    # Softmax minus one-hot, by hand.
    probabilities = np.exp(_log_probabilities(digit_logits.numpy()))
    np.testing.assert_allclose(digit_gradient[digits != PAD], (probabilities - np.eye(10)[7])[digits != PAD], atol=1e-5)
    np.testing.assert_allclose(
        length_gradient, np.exp(_log_probabilities(length_logits.numpy())) - np.eye(7)[:6], atol=1e-5
    )


def test_extreme_answers_give_finite_losses_and_gradients() -> None:
    length_logits = tf.constant(np.where(np.arange(7) == 1, 1e4, -1e4)[None].astype(np.float32))
    digit_logits = tf.constant(np.where(np.arange(10) == 3, 1e4, -1e4)[None, None].repeat(5, 1).astype(np.float32))
    for length, digit, expected in ((1, 3, 0.0), (2, 4, 6e4)):
        digits = np.array([[digit] * length + [PAD] * (5 - length)])
        with tf.GradientTape() as tape:
            tape.watch(digit_logits)
            loss = number_loss(length_logits, digit_logits, np.array([length]), digits)
        assert float(loss[0]) == pytest.approx(expected)
        assert np.isfinite(tape.gradient(loss, digit_logits)).all()


def test_an_empty_batch_has_no_loss_and_a_batch_s_rows_do_not_mix() -> None:
    length_logits, digit_logits = _logits(3)
    length, digits = np.array([1, 2, 5]), np.array([[1, PAD, PAD, PAD, PAD], [2, 3, PAD, PAD, PAD], [1, 2, 3, 4, 5]])
    together = np.asarray(number_loss(length_logits, digit_logits, length, digits))
    for row in range(3):
        here = slice(row, row + 1)
        np.testing.assert_allclose(
            number_loss(length_logits[here], digit_logits[here], length[here], digits[here]), together[here], rtol=1e-6
        )
    assert number_loss(length_logits[:0], digit_logits[:0], length[:0], digits[:0]).shape == (0,)
