"""Wrong labels: what a reader's probabilities say of a number, and how suspicions are ranked."""

from itertools import product

import numpy as np
import pytest

from tfrecords.record.labels import Labels
from trainer.audit.labels import Answers, kind_of, label_suspects, number_probability
from trainer.audit.suspects import LABEL_DIGIT, LABEL_LENGTH, LABEL_ORDER
from trainer.scoring.decode import Predictions, decode_predictions

LABELS = Labels(3, "0123")


def _random(count: int) -> Predictions:
    rng = np.random.default_rng(0)
    return decode_predictions(rng.normal(size=(count, 5)), rng.normal(size=(count, 3, 4)), LABELS)


def _sure(*texts: str, confidence: float = 0.98) -> Predictions:
    """Returns predictions of these numbers, each length and digit with the same probability."""
    length, digits = np.zeros((len(texts), 5)), np.zeros((len(texts), 3, 4))
    for row, text in enumerate(texts):
        length[row, len(text)] = digits[row, np.arange(len(text)), [int(each) for each in text]] = 1
    length_logits, digit_logits = (np.log(np.where(each, confidence, 1 - confidence)) for each in (length, digits))
    return decode_predictions(length_logits, digit_logits, LABELS)


def test_the_probabilities_of_all_numbers_that_can_be_read_add_up_to_those_of_their_lengths() -> None:
    predictions = _random(4)
    texts = ["".join(each) for size in range(4) for each in product("0123", repeat=size)]
    total = sum(number_probability(predictions, [text] * 4) for text in texts)
    np.testing.assert_allclose(total, predictions.length_probabilities[:, :4].sum(axis=1))


def test_the_number_that_is_read_has_its_confidence() -> None:
    predictions = _random(30)
    shorter = predictions.length < 4
    found = number_probability(predictions, predictions.texts)
    np.testing.assert_allclose(found[shorter], predictions.confidence[shorter])


def test_a_number_that_a_reader_cannot_predict_has_no_probability() -> None:
    assert number_probability(_random(2), ["0123", "9"]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("given", "suggested", "kind"),
    [("47", "77", LABEL_DIGIT), ("47", "74", LABEL_ORDER), ("47", "4", LABEL_LENGTH), ("4", "", LABEL_LENGTH)],
)
def test_a_wrong_label_has_another_digit_another_length_or_another_order(given: str, suggested: str, kind: str) -> None:
    assert kind_of(given, suggested) == kind


def test_numbers_that_are_read_as_labelled_are_no_suspicion() -> None:
    assert label_suspects(["a", "b"], ["12", "3"], [Answers.of("one", _sure("12", "3"))]) == []


def test_a_number_that_all_readers_contradict_is_more_suspicious_than_one_that_they_disagree_about() -> None:
    second = _sure("12", "2", confidence=0.8)
    readers = [Answers.of("one", _sure("12", "12")), Answers.of("two", second)]
    found = label_suspects(["agree", "disagree"], ["2", "2"], readers)
    assert [one.key for one in found] == ["agree", "disagree"] and found[0].score > 0.9 > found[1].score
    assert (found[0].given, found[0].suggested, found[0].kind) == ("2", "12", LABEL_LENGTH)
    assert found[0].evidence["agree"] == 2 and found[0].evidence["readers"]["two"][0] == "12"


def test_the_score_of_one_reader_is_the_margin_between_two_numbers() -> None:
    (found,) = label_suspects(["a"], ["2"], [Answers.of("one", _sure("3", confidence=0.9))])
    weights = [float(number_probability(_sure("3", confidence=0.9), [text])[0]) for text in ("3", "2")]
    expected = (weights[0] - weights[1]) / (weights[0] + weights[1] + 0.002 + 0.03)
    assert found.score == pytest.approx(expected)


def test_confident_learning_counts_a_number_that_is_as_probable_as_where_it_is_the_label() -> None:
    # The reader is surer of 3 where it is the label than of the last picture, and less sure than of the one before it.
    texts = ["3", "3", "3", "3"]
    parts = [_sure(text, confidence=sure) for text, sure in zip(texts, (0.95, 0.95, 0.99, 0.6), strict=True)]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("length", "digits", "confidence", "length_probabilities", "digit_probabilities")
    }
    answers = Answers.of("one", Predictions(**joined, labels=LABELS))
    assert answers.confident(["3", "3", "2", "2"]).tolist()[2:] == [True, False]


def test_a_reader_without_probabilities_of_digits_knows_of_the_number_that_it_reads_alone() -> None:
    other = Answers("ocr", ["12", ""], np.array([0.9, 0.0]))
    assert other.probability(["12", "3"]).tolist() == [0.9, 0.0]
    found = label_suspects(["a", "b"], ["2", "3"], [Answers.of("one", _sure("12", "3")), other])
    assert [(one.key, one.suggested) for one in found] == [("a", "12")]


def test_a_second_opinion_raises_what_it_reads_too_and_lowers_what_it_reads_as_labelled() -> None:
    # Our reader contradicts five labels equally.
    ours = Answers.of("one", _sure("3", "3", "3", "3", "2", confidence=0.9))
    other = Answers("ocr", ["3", "", "1", "2", "3"], np.array([0.95, 0.0, 0.95, 0.95, 0.95]))
    keys, given = ["agrees", "silent", "third", "as labelled", "alone"], ["2"] * 5
    scores = {one.key: one.score for one in label_suspects(keys, given, [ours, other])}
    (without,) = label_suspects(["silent"], ["2"], [Answers.of("one", _sure("3", confidence=0.9))])
    # What it alone contradicts is no suspicion, and where it reads nothing all stays as it was.
    assert "alone" not in scores and scores["silent"] == pytest.approx(without.score)
    assert scores["agrees"] > scores["silent"] > scores.get("as labelled", -1.0)
    assert scores["agrees"] > scores["third"] > scores.get("as labelled", -1.0)
