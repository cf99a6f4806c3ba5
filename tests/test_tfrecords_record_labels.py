"""Labels: longest length and alphabet, and what they make of a number."""

import pytest

from tfrecords import Labels, UserError


def test_digits_are_indices_padded_with_the_size_of_the_alphabet() -> None:
    meter = Labels(6, "0123456789.")
    assert meter.pad == 11 and meter.digits("08.50").tolist() == [0, 8, 10, 5, 0, 11]
    assert Labels().digits("0").tolist() == [0, 10, 10, 10, 10] and Labels().digits("").tolist() == [10] * 5


@pytest.mark.parametrize("text", ["", "0", "0008", "12.50", "äß-京"])
def test_a_text_survives(text: str) -> None:
    labels = Labels(5, "京äß.-0123456789")
    digits = labels.digits(text)
    assert labels.text(digits[: len(text)].tolist()) == text and digits.dtype.name == "int64"


def test_unknown_characters_are_named_once_in_their_order() -> None:
    assert Labels().unknown("1b2ab") == "ba"
    with pytest.raises(UserError, match=r"must be of the characters '0123456789'\. Received: 'ba' in '1b2ab'"):
        Labels().digits("1b2ab")
    with pytest.raises(UserError, match=r"must have at most 5 characters\. Received: '123456'"):
        Labels().digits("123456")


@pytest.mark.parametrize(
    ("max_length", "alphabet", "message"),
    [
        (0, "01", "max_length must be 1..32. Received: 0"),
        (33, "01", "max_length must be 1..32. Received: 33"),
        (5, "", "alphabet must be 1 to 255 printable characters. Received: ''"),
        (5, "0\n", "printable characters. Received: '0\\\\n'"),
        (5, "".join(map(chr, range(0x4E00, 0x4F00))), "alphabet must be 1 to 255"),
        (5, "0120", "must hold each character once, and has '0' again. Received: '0120'"),
    ],
)
def test_what_no_record_can_hold_is_refused(max_length: int, alphabet: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Labels(max_length, alphabet)


def test_the_longest_alphabet_fits_a_byte() -> None:
    labels = Labels(32, "".join(map(chr, range(0x4E00, 0x4E00 + 255))))
    assert labels.pad == 255 and labels.digits("").max() == 255
