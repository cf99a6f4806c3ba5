"""Labels that are probably wrong, by confident learning over the answers of readers. NumPy only.

Northcutt, Jiang and Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels", rank examples by how
much more probable another class is than the given one, and count as errors those whose other class is at least as
probable as it is on average where it is given. A number is not one of a few classes: its probability is that of its
length times those of its digits, and the averages are those of lengths and digits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from trainer.audit.suspects import LABEL_DIGIT, LABEL_LENGTH, LABEL_ORDER, Suspect
from trainer.scoring.decode import Predictions

LONGER = "…"
"""End of a read number that is longer than the longest that its reader can predict."""
_FLOOR = 1e-3
"""Probability that each reader leaves to a number that it excludes: one reader alone cannot rule a number out."""
_NONE_OF_THEM = 0.03
"""Weight of all numbers that no reader reads and that are not the label. Without it a label that is excluded by readers
who are unsure themselves would be as suspicious as one that all of them contradict. Of 4,000 photos with 2 % planted
errors, values of 0.01 to 0.1 found as many within 0.02."""
_DECIMALS = 4


@dataclass(frozen=True)
class Answers:
    """What one reader answers about every picture.

    Attributes:
      reader: Name of the reader.
      texts: Numbers that it reads.
      confidence: (pictures,) float64, probability of these numbers.
      predictions: All its probabilities; None of a reader that has none but of the number that it reads.
    """

    reader: str
    texts: list[str]
    confidence: NDArray[np.float64]
    predictions: Predictions | None = None

    @classmethod
    def of(cls, reader: str, predictions: Predictions) -> "Answers":
        """Returns the answers in a reader's predictions, one per picture."""
        return cls(reader, predictions.texts, predictions.confidence, predictions)

    def has_say(self) -> NDArray[np.bool_]:
        """Returns whether the answer counts, (pictures,): not if a reader without other probabilities reads nothing."""
        return np.array([self.predictions is not None or bool(text) for text in self.texts], np.bool_)

    def probability(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Returns the probability that the reader gives a number per picture, (pictures,) float64."""
        if self.predictions is not None:
            return number_probability(self.predictions, texts)
        return np.where(np.array(self.texts, object) == np.array(texts, object), self.confidence, 0.0)

    def confident(self, given: Sequence[str]) -> NDArray[np.bool_]:
        """Returns whether each read number is at least as probable as such numbers are where they are the label.

        Args:
          given: Labels of the pictures.
        """
        if self.predictions is None:
            right = np.array(self.texts, object) == np.array(given, object)
            return self.confidence >= (self.confidence[right].mean() if right.any() else 1.0)
        return self.confidence >= _expected(self.predictions, given)


def number_probability(predictions: Predictions, texts: Sequence[str]) -> NDArray[np.float64]:
    """Returns the probability that a reader gives each number: P(length) times P(digit) at each position.

    Args:
      predictions: Predictions of a batch.
      texts: A number per image. One that the reader cannot predict has the probability 0.

    Returns:
      (batch,) float64, 0..1.
    """
    length, digits, known = _indices(texts, predictions.labels)
    rows = np.arange(len(length))
    each = np.take_along_axis(predictions.digit_probabilities, digits[..., None], axis=-1)[..., 0]
    inside = np.arange(digits.shape[1]) < length[:, None]
    product = predictions.length_probabilities[rows, length] * np.where(inside, each, 1.0).prod(axis=1)
    result: NDArray[np.float64] = np.where(known, product, 0.0)
    return result


def _expected(predictions: Predictions, given: Sequence[str]) -> NDArray[np.float64]:
    """Returns the mean probabilities of the predicted length and digits where they are given, multiplied: (batch,)."""
    length, digits, known = _indices(given, predictions.labels)
    places = np.arange(digits.shape[1])
    inside = (places < length[:, None]) & known[:, None]
    each = np.take_along_axis(predictions.digit_probabilities, digits[..., None], axis=-1)[..., 0]
    of_digit = _means(digits[inside], each[inside], len(predictions.labels.alphabet))
    of_given = predictions.length_probabilities[np.arange(len(length)), length]
    of_length = _means(length[known], of_given[known], predictions.length_probabilities.shape[1])
    read = places < predictions.length[:, None]
    result: NDArray[np.float64] = np.where(read, of_digit[predictions.digits], 1.0).prod(axis=1)
    return of_length[predictions.length] * result


def _means(classes: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Returns the mean value of each class, (count,); 1 for a class that does not occur, which nothing reaches."""
    number = np.bincount(classes, minlength=count)
    total = np.bincount(classes, values, minlength=count)
    return np.where(number > 0, total / np.maximum(number, 1), 1.0)


def _indices(texts: Sequence[str], labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Returns lengths, (batch,), indices of the characters, (batch, longest), and which texts a reader can predict."""
    known = np.array([len(text) <= labels.max_length and not labels.unknown(text) for text in texts], np.bool_)
    spelt = [text if is_known else "" for text, is_known in zip(texts, known, strict=True)]
    digits = np.array([labels.digits(text) for text in spelt], np.int64).reshape(-1, labels.max_length)
    return np.array(list(map(len, spelt)), np.int64), np.where(digits == labels.pad, 0, digits), known


def label_suspects(keys: Sequence[str], given: Sequence[str], answers: Sequence[Answers]) -> list[Suspect]:
    """Returns the numbers that some reader reads otherwise, and is more probable than the label.

    Each number that a reader reads, and the label, has as its weight the geometric mean of the probabilities that the
    readers give it. The suggested number is the heaviest besides the label. The score is how much heavier all others
    are together than the label, as a share of the total: 1 if every reader is sure of one other number, -1 if every
    reader is sure of the label.

    A reader without probabilities of digits is a second opinion. Where it reads nothing it has no say, and what it
    alone contradicts is no suspicion.

    Args:
      keys: Keys of the annotations.
      given: Their labels.
      answers: What each reader answers about them; at least one reader with probabilities of digits.
    """
    columns = np.array([list(given), *(one.texts for one in answers)], object)
    weights = _weights(columns, answers)
    others = weights[1:].sum(axis=0)
    scores = (others - weights[0]) / (others + weights[0] + _NONE_OF_THEM)
    best = 1 + weights[1:].argmax(axis=0)
    full = [index for index, one in enumerate(answers, 1) if one.predictions is not None]
    contradicted = (columns[full] != columns[0]).any(axis=0)
    suspicious = np.flatnonzero((scores > 0) & (weights[1:].max(axis=0) > 0) & contradicted)
    suggested = [str(text) for text in columns[best[suspicious], suspicious]]
    return [
        Suspect(keys[row], kind_of(given[row], text), float(scores[row]), given[row], text, evidence)
        for row, text, evidence in zip(
            suspicious.tolist(), suggested, _evidence(suspicious, given, suggested, answers), strict=True
        )
    ]


def _evidence(
    rows: NDArray[np.int64], given: Sequence[str], suggested: Sequence[str], answers: Sequence[Answers]
) -> Iterator[dict[str, Any]]:
    """Yields what readers say of suspicious labels.

    Args:
      rows: Indices of their pictures.
      given: Labels of all pictures.
      suggested: Suggested numbers of the suspicious ones.
      answers: What each reader answers.
    """
    confident = [one.confident(given) for one in answers]
    has_say = [one.has_say() for one in answers]
    of_given = [one.probability(given) for one in answers]
    for row, text in zip(rows.tolist(), suggested, strict=True):
        agree = [bool(say[row]) and one.texts[row] == text for one, say in zip(answers, has_say, strict=True)]
        yield {
            "readers": {one.reader: [one.texts[row], round(float(one.confidence[row]), _DECIMALS)] for one in answers},
            "agree": sum(agree),
            "given_probability": [round(float(each[row]), _DECIMALS) for each in of_given],
            "confident": sum(bool(sure[row]) and same for same, sure in zip(agree, confident, strict=True)),
        }


def _weights(columns: NDArray[np.object_], answers: Sequence[Answers]) -> NDArray[np.float64]:
    """Returns the weight of each label and read number, (1 + readers, pictures).

    It is 0 for a number that is there twice, and for none where a second opinion reads nothing.

    Args:
      columns: (1 + readers, pictures), the labels, and the numbers that each reader reads.
      answers: What each reader answers.
    """
    logs = np.array([[np.log(one.probability(list(texts)) + _FLOOR) for one in answers] for texts in columns])
    has_say = np.array([one.has_say() for one in answers])
    means = (logs * has_say).sum(axis=1) / has_say.sum(axis=0)
    counts = np.vstack([np.ones(columns.shape[1], np.bool_), has_say])
    for index in range(1, len(columns)):
        # A number that two readers read counts once.
        counts[index] &= ~((columns[:index] == columns[index]) & counts[:index]).any(axis=0)
    return np.where(counts, np.exp(means), 0.0)


def kind_of(given: str, suggested: str) -> str:
    """Returns the kind of a wrong label: another length, the same digits in another order, or another digit."""
    if len(given) != len(suggested):
        return LABEL_LENGTH
    return LABEL_ORDER if sorted(given) == sorted(suggested) else LABEL_DIGIT
