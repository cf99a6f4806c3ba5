"""JSON as dataclasses: what each field accepts, and what is said of a value that it does not."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from tfrecords.errors import UserError, printable
from tfrecords.typed_json import Count, from_json, matching, one_of, parse_object, shorten


@dataclass(frozen=True)
class Inner:
    share: float
    name: Annotated[str, matching("[a-z]+", "letters")] = "a"

    def __post_init__(self) -> None:
        if self.share > 1:
            raise UserError("share must be 0..1.", self.share)
        if self.name == "bad":
            raise UserError("name must be good.", "b\nad")


@dataclass(frozen=True)
class Outer:
    count: Count
    inner: list[Inner]
    by_name: dict[Annotated[str, one_of("x", "y")], int | None]
    shape: tuple[int, int]
    anything: dict[str, Any]
    is_new: bool


GOOD = {
    "count": 3,
    "inner": [{"share": 1, "name": "b"}, {"share": 0.5, "name": "c"}],
    "by_name": {"x": 1, "y": None},
    "shape": [4, 5],
    "anything": {"a": [None]},
    "is_new": True,
}


def test_values_become_dataclasses() -> None:
    expected = Outer(3, [Inner(1, "b"), Inner(0.5, "c")], {"x": 1, "y": None}, (4, 5), {"a": [None]}, True)
    assert from_json(Outer, GOOD, "f") == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": True}, "f.json: count must be an integer. Received: True"),
        ({"count": 3.0}, "f.json: count must be an integer. Received: 3.0"),
        ({"count": "3"}, "f.json: count must be an integer. Received: '3'"),
        ({"count": -1}, "f.json: count must be an integer of 0 to 2^53 - 1. Received: -1"),
        ({"count": 2**53}, "f.json: count must be an integer of 0 to 2^53 - 1. Received: 9007199254740992"),
        ({"inner": {}}, "f.json: inner must be a list. Received: {}"),
        ({"inner": [{"share": 1, "name": "b"}, 5]}, "f.json: inner[1] must be an object. Received: 5"),
        ({"inner": [{"share": True, "name": "b"}]}, "f.json: inner[0].share must be a number. Received: True"),
        ({"inner": [{"share": 1, "name": "a\n"}]}, r"f.json: inner[0].name must be letters. Received: 'a\n'"),
        ({"inner": [{"share": 1, "name": "bad"}]}, r"f.json: inner[0] is wrong: name must be good. Received: b\nad"),
        ({"inner": [{"share": 2, "name": "a"}]}, "f.json: inner[0] is wrong: share must be 0..1. Received: 2"),
        (
            {"inner": [{"share": 1}]},
            "f.json: inner[0] must have exactly the fields share, name. Received: missing ['name'], unknown []",
        ),
        ({"by_name": {"z": 1}}, "f.json: by_name.z must be one of x, y. Received: 'z'"),
        ({"by_name": {"x\n": 1}}, r"f.json: by_name['x\n'] must be one of x, y. Received: 'x\n'"),
        ({"by_name": {"x": "1"}}, "f.json: by_name.x must be an integer. Received: '1'"),
        ({"shape": [4]}, "f.json: shape must be a list of 2. Received: [4]"),
        ({"shape": "45"}, "f.json: shape must be a list of 2. Received: '45'"),
        ({"anything": []}, "f.json: anything must be an object. Received: []"),
        (
            {"anything": {"\ud800": 1}},
            r"f.json: anything['\ud800'] must be a string that UTF-8 can encode. Received: '\ud800'",
        ),
        ({"is_new": 1}, "f.json: is_new must be true or false. Received: 1"),
        ({"is_new": None}, "f.json: is_new must be true or false. Received: None"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_position_rule_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(Outer, {**GOOD, **change}, "f.json")
    assert str(caught.value) == message


def test_fields_that_are_missing_or_unknown_are_named() -> None:
    content = {name: value for name, value in GOOD.items() if name != "count"}
    with pytest.raises(UserError, match=r"missing \['count'\], unknown \['extra'\]$"):
        from_json(Outer, {**content, "extra": 1}, "f.json")


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "null", "{", "\ufeff{}", "[" * 5000, '{"a":' * 60 + "1" + "}" * 60, '{"a": 1' + "0" * 400 + "}"],
)
def test_a_text_that_is_no_usable_object_is_one_short_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^f\.json must be a JSON object\. Received: ") as caught:
        parse_object(text, "f.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UserError, match=r"f must be a JSON object\. Received: UnicodeDecodeError"):
        parse_object(b'{"a": "\xff\xfe\xfd"}', "f")


def test_texts_are_printed_on_one_line_without_escape_sequences() -> None:
    assert printable("Straße 5") == "Straße 5"
    assert printable("a\nb\x1b[31m\ud800") == r"a\nb\x1b[31m\ud800"
    assert shorten("x" * 1000) == "x" * 50 + " ... " + "x" * 50
