"""Nested values under dotted names."""

from types import MappingProxyType

from tfrecords.nested import flatten


def test_leaves_have_dotted_names_in_their_order() -> None:
    nested = {"seed": 3, "crop": {"growth": 0.3, "inner": {"deep": None}}, "name": "svhn"}
    assert list(flatten(nested).items()) == [
        ("seed", 3),
        ("crop.growth", 0.3),
        ("crop.inner.deep", None),
        ("name", "svhn"),
    ]


def test_an_empty_mapping_and_lists_are_leaves() -> None:
    assert flatten({"empty": {}, "list": [{"a": 1}], "text": "x"}) == {"empty": {}, "list": [{"a": 1}], "text": "x"}
    assert flatten({}) == {}


def test_a_prefix_comes_before_every_name_and_any_mapping_is_flattened() -> None:
    assert flatten({"a": MappingProxyType({"b": 1})}, "config.") == {"config.a.b": 1}
