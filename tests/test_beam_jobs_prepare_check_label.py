"""Whether a record can hold a number: its length and its characters."""

import pytest

from beam_jobs.annotation import Annotation, DeadLetter
from beam_jobs.prepare.check_label import check_label
from tfrecords.record.labels import Labels

METER = Labels(4, "0123456789.")


@pytest.mark.parametrize(
    ("text", "labels", "split", "reason", "detail"),
    [
        ("0008", METER, "train", None, ""),
        ("", METER, "predict", None, ""),
        ("", METER, "test", "no_text", "train/a.png: A number must have at least one character. Received: ''"),
        ("123456", Labels(), "train", "too_long", "train/a.png: A number must have at most 5 digits. Received: 6"),
        ("12.34", METER, "train", "too_long", "train/a.png: A number must have at most 4 characters. Received: 5"),
        (
            "1,5",
            METER,
            "predict",
            "unknown_character",
            "train/a.png: A number must be of the characters '0123456789.'. Received: ',' in '1,5'",
        ),
    ],
)
def test_a_number_that_no_record_holds_becomes_a_dead_letter(
    text: str, labels: Labels, split: str, reason: str | None, detail: str
) -> None:
    annotation = Annotation("train", "a.png", 3, text)
    checked = check_label(annotation, labels, split)
    if reason is None:
        assert checked is annotation
    else:
        assert checked.dead == DeadLetter("annotation", reason, detail) and checked.text == text


def test_an_earlier_dead_letter_stays() -> None:
    letter = DeadLetter("annotation", "bad_box", "why")
    assert check_label(Annotation("train", "a.png", 0, "123456", dead=letter), Labels(), "train").dead == letter
