"""The most probable number against all numbers there are, and on hand-made probabilities."""

import itertools

import numpy as np
import pytest

from trainer.scoring.decode import decode_predictions, mean_of_views


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64))
    return exponents / exponents.sum(-1, keepdims=True)


def _best_of_all(length_logits: np.ndarray, digit_logits: np.ndarray) -> tuple[float, int, tuple[int, ...]]:
    """Returns the probability, length class and digits of the best of all 211,111 (length, digits)."""
    lengths, places = _softmax(length_logits), _softmax(digit_logits)
    best: tuple[float, int, tuple[int, ...]] = (-1.0, 0, ())
    for length in range(7):
        digits = min(length, 5)
        table = np.array(lengths[length])
        for place in range(digits):
            table = np.multiply.outer(table, places[place])
        where = np.unravel_index(table.argmax(), table.shape)
        best = max(best, (float(table[where]), length, tuple(map(int, where))))
    return best


def test_the_best_of_all_numbers_is_found_with_its_probability() -> None:
    generator = np.random.default_rng(0)
    # From hardly sure to sure, so that short and long numbers win.
    scales = np.repeat([0.1, 1.0, 3.0], 12)
    length_logits = (generator.normal(size=(36, 7)) * scales[:, None]).astype(np.float32)
    digit_logits = (generator.normal(size=(36, 5, 10)) * 2 * scales[:, None, None]).astype(np.float32)
    # So that every length is the best of all for some; it need not be the best length by itself.
    length_logits[np.arange(36), np.arange(36) % 7] += 4 * scales
    predictions = decode_predictions(length_logits, digit_logits)
    for row in range(36):
        probability, length, digits = _best_of_all(length_logits[row], digit_logits[row])
        assert predictions.length[row] == length
        assert tuple(predictions.digits[row, :length]) == digits
        assert predictions.confidence[row] == pytest.approx(probability, rel=1e-9)
    assert set(predictions.length.tolist()) == set(range(7))
    assert (predictions.length != length_logits.argmax(-1)).any()


def test_no_listed_number_is_more_probable() -> None:
    generator = np.random.default_rng(1)
    length_logits, digit_logits = generator.normal(size=(1, 7)), generator.normal(0, 3, (1, 5, 10))
    predictions = decode_predictions(length_logits, digit_logits)
    lengths, places = _softmax(length_logits[0]), _softmax(digit_logits[0])
    highest = max(
        lengths[length] * np.prod([places[place, digit] for place, digit in enumerate(digits)])
        for length in range(4)
        for digits in itertools.product(range(10), repeat=length)
    )
    assert predictions.confidence[0] >= highest * (1 - 1e-12)


def _probabilities(length: list[float], firsts: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits of one picture: `length` and, a place each, a digit with its probability; the others share."""
    digits = np.full((1, 5, 10), 0.1)
    for place, (digit, probability) in enumerate(firsts):
        digits[0, place] = (1 - probability) / 9
        digits[0, place, digit] = probability
    return np.log(np.array([length])), np.log(digits)


@pytest.mark.parametrize(
    ("length", "text", "confidence"),
    [
        ([0.9, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01], "", 0.9),
        ([0.02, 0.9, 0.02, 0.02, 0.02, 0.01, 0.01], "1", 0.9 * 0.9),
        # Two digits are likelier than one, but not with the second digit that has to come with them.
        ([0.01, 0.4, 0.55, 0.01, 0.01, 0.01, 0.01], "1", 0.4 * 0.9),
        ([0.01, 0.2, 0.75, 0.01, 0.01, 0.01, 0.01], "19", 0.75 * 0.9 * 0.5),
        ([0.01, 0.01, 0.01, 0.01, 0.01, 0.9, 0.05], "19070", 0.9 * 0.9 * 0.5 * 0.8 * 0.9 * 0.6),
        ([0.01, 0.01, 0.01, 0.01, 0.01, 0.05, 0.9], "19070…", 0.9 * 0.9 * 0.5 * 0.8 * 0.9 * 0.6),
    ],
)
def test_hand_made_probabilities_are_read_as_they_should(length: list[float], text: str, confidence: float) -> None:
    places = [(1, 0.9), (9, 0.5), (0, 0.8), (7, 0.9), (0, 0.6)]
    predictions = decode_predictions(*_probabilities(length, places))
    assert predictions.texts == [text]
    assert predictions.confidence[0] == pytest.approx(confidence)
    np.testing.assert_allclose(predictions.length_probabilities[0], length)
    assert predictions.digit_probabilities[0, 1, 9] == pytest.approx(0.5)


def test_logits_of_any_size_and_type_are_read_in_float64() -> None:
    length_logits, digit_logits = _probabilities([0.01, 0.01, 0.9, 0.02, 0.02, 0.02, 0.02], [(4, 0.9), (2, 0.8)])
    expected = decode_predictions(length_logits, digit_logits)
    for shift in (-1e4, 1e4):
        moved = decode_predictions((length_logits + shift).astype(np.float32), digit_logits + shift)
        assert moved.texts == expected.texts == ["42"]
        assert moved.confidence.dtype == np.float64
        assert moved.confidence[0] == pytest.approx(0.9 * 0.9 * 0.8, rel=5e-3)
    sure = decode_predictions(np.eye(7, dtype=np.float16)[[1]] * 6e4, np.eye(10, dtype=np.float16)[None, :5] * 6e4)
    assert sure.texts == ["0"] and sure.confidence[0] == 1


def test_equally_probable_numbers_are_read_as_the_shortest_and_lowest() -> None:
    predictions = decode_predictions(np.zeros((1, 7)), np.zeros((1, 5, 10)))
    assert predictions.texts == [""] and predictions.confidence[0] == pytest.approx(1 / 7)
    assert predictions.digits.tolist() == [[0] * 5]


def test_no_pictures_are_no_numbers() -> None:
    assert decode_predictions(np.zeros((0, 7)), np.zeros((0, 5, 10))).texts == []


def test_views_of_a_number_are_averaged_as_probabilities() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (6, 5, 10)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = np.stack([probabilities[:3].mean(axis=0), probabilities[3:].mean(axis=0)])
    assert np.allclose(np.exp(mean_of_views(logits, 3)), expected)
    assert np.allclose(np.exp(mean_of_views(logits, 1)), probabilities)
