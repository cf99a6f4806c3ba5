"""Records, against TensorFlow's own tf.train.Example."""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.examples import FEATURES, PAD, assert_equal_examples, make_example
from tfrecords.errors import UserError
from tfrecords.record import wire
from tfrecords.record.codec import ENCODINGS, decode, decode_with_protobuf, encode
from tfrecords.record.labels import Labels
from tfrecords.record.schema import DYNAMIC_IMAGE, NEW_IN_2, DigitExample, check_example


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_an_example_comes_back_equal(encoding: str, dynamic: bool) -> None:
    example = make_example()
    assert_equal_examples(decode(encode(example, encoding, dynamic)), example)


def test_a_grey_picture_comes_back_equal_from_a_png() -> None:
    example = make_example()
    example = dataclasses.replace(example, image=example.image[:, :, :1])
    assert_equal_examples(decode(encode(example, "png")), example)


def test_tensorflow_parses_the_same_values() -> None:
    example = make_example(digits=(7, 0, 4))
    features = tf.train.Example.FromString(encode(example)).features.feature
    assert set(features) == set(FEATURES)
    assert features["image"].bytes_list.value[0] == example.image.tobytes()
    assert list(features["digits"].int64_list.value) == [7, 0, 4, PAD, PAD]
    assert features["text"].bytes_list.value[0] == b"704"
    assert list(features["boxes"].float_list.value) == example.boxes.ravel().tolist()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dynamic_shape", [False, True])
@pytest.mark.parametrize("digits", [(7,), (1, 2, 3, 4, 5)])
def test_records_are_what_protobuf_would_write(encoding: str, dynamic_shape: bool, digits: tuple[int, ...]) -> None:
    ours = encode(make_example(digits=digits), encoding, dynamic_shape)
    parsed = tf.train.Example.FromString(ours)
    assert sorted(parsed.SerializeToString()) == sorted(ours), "the same bytes, but for the order of the features"
    names = sorted(parsed.features.feature)
    places = [ours.index(b"\x0a" + bytes([len(name)]) + name.encode() + b"\x12") for name in names]
    assert places == sorted(places), "the features stand in the order of their names"


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**63 - 1, -1, -(2**63)])
def test_integers_are_written_as_protobuf_writes_them(value: int) -> None:
    feature = wire.int64_feature("x", (value, 5))
    ours = wire.example_head(len(feature)) + feature
    parsed = tf.train.Example.FromString(ours)
    assert list(parsed.features.feature["x"].int64_list.value) == [value, 5]
    assert parsed.SerializeToString() == ours


def test_a_record_that_tensorflow_serialised_is_read() -> None:
    example = make_example()
    theirs = tf.train.Example.FromString(encode(example)).SerializeToString()
    assert_equal_examples(decode(theirs), example)


def test_records_are_these_bytes_until_the_schema_version_changes() -> None:
    digest = hashlib.sha256(encode(make_example())).hexdigest()
    assert digest == "3d26ee27d33b8cbf51e15c5a1cb3c4647bcfea1a4c6e81ba3ed9cac260c6be7e"


def test_a_record_that_is_no_example_is_named() -> None:
    with pytest.raises(UserError, match=r"^shard 3: not a tf\.train\.Example\. Received: 4 bytes"):
        decode(b"\xff\xff\xff\xff", "shard 3")


def _without(name: str) -> bytes:
    record = tf.train.Example.FromString(encode(make_example()))
    del record.features.feature[name]
    return record.SerializeToString()


@pytest.mark.parametrize("name", [name for name in FEATURES if name != NEW_IN_2])
def test_each_missing_feature_is_named(name: str) -> None:
    with pytest.raises(UserError, match=rf"feature {name} must hold \d+ (bytes|int64|float) values\. Received: 0"):
        decode(_without(name))


def _with(name: str, kind: str, values: list[object]) -> bytes:
    record = tf.train.Example.FromString(encode(make_example()))
    feature = record.features.feature[name]
    feature.Clear()
    getattr(feature, f"{kind}_list").value.extend(values)
    return record.SerializeToString()


@pytest.mark.parametrize(
    ("name", "kind", "values", "message"),
    [
        ("digits", "int64", [1, 2], "feature digits must hold 5 int64 values"),
        ("length", "float", [2.0], "feature length must hold 1 int64 values"),
        ("image/shape", "int64", [6, 6, 4], "image must hold .6, 6, 4. bytes"),
        ("image/format", "bytes", [b"jpeg"], "image/format must be one of .*Received: jpeg"),
        ("text", "bytes", [b"91"], "text must be the digits, '19'. Received: 91"),
    ],
)
def test_a_wrong_feature_is_named(name: str, kind: str, values: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        decode(_with(name, kind, values))


def test_a_png_of_another_shape_is_refused() -> None:
    small = encode(make_example(size=5), "png")
    png = tf.train.Example.FromString(small).features.feature["image"].bytes_list.value[0]
    record = tf.train.Example.FromString(encode(make_example(size=6), "png"))
    record.features.feature["image"].bytes_list.value[0] = png
    with pytest.raises(UserError, match=r"must have the shape in image/shape, \(6, 6, 3\)"):
        decode(record.SerializeToString())


def test_raw_pictures_of_several_sizes_stand_where_tfds_looks_for_them() -> None:
    features = tf.train.Example.FromString(encode(make_example(), dynamic_shape=True)).features.feature
    assert DYNAMIC_IMAGE in features and "image" not in features


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image", np.zeros((6, 6, 3), np.float32), "image must be uint8"),
        ("image", np.zeros((0, 6, 3), np.uint8), "image must be uint8"),
        ("length", -1, r"length must be 0\.\.5"),
        ("length", 0, "digits must be 5 values, 0..9 for the first 0 and 10 for the rest"),
        ("length", 3, "digits must be 5 values, 0..9 for the first 3"),
        ("digits", np.array([1, 9, 0, 10, 10]), "digits must be 5 values, 0..9 for the first 2 and 10 for the rest"),
        ("boxes", np.zeros((4, 4), np.float32), "boxes must have shape"),
        ("crop_box", np.array([0, 0, 61, 10]), "crop_box must lie inside the source picture"),
    ],
)
def test_an_example_that_breaks_the_schema_is_named(field: str, value: Any, message: str) -> None:
    check_example(make_example())
    with pytest.raises(UserError, match=rf"^train/1\.png#0: {message}"):
        check_example(dataclasses.replace(make_example(), **{field: value}))


@pytest.mark.parametrize("size", [0, 1, 8, 20, 30, 60])
def test_a_png_that_is_cut_off_is_named(size: int) -> None:
    record = tf.train.Example.FromString(encode(make_example(), "png"))
    picture = record.features.feature["image"].bytes_list
    picture.value[0] = picture.value[0][:size]
    with pytest.raises(UserError, match=rf"shard 1 .*: image must be a PNG file\. Received: {size} bytes"):
        decode(record.SerializeToString(), "shard 1")


METER = Labels(9, "0123456789.")


def meter_example(text: str = "0012.50", channels: int = 1) -> DigitExample:
    """An example of a number without boxes for its characters, in grey."""
    return dataclasses.replace(
        make_example(),
        image=np.arange(8 * 8 * channels, dtype=np.uint8).reshape(8, 8, channels),
        digits=METER.digits(text),
        length=len(text),
        boxes=np.zeros((9, 4), np.float32),
        has_digit_boxes=False,
        alphabet=METER.alphabet,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", ["0012.50", "", "123456789"])
def test_an_example_of_other_labels_comes_back_equal(encoding: str, text: str) -> None:
    example = meter_example(text)
    record = encode(example, encoding)
    found = decode(record, labels=METER)
    assert_equal_examples(found, example)
    assert_equal_examples(decode_with_protobuf(record, "record", METER), example)
    assert found.text == text
    check_example(found, METER)


def test_grey_records_of_one_digit_are_their_pixels_and_three_hundred_bytes() -> None:
    one = dataclasses.replace(
        make_example(digits=(7,)),
        digits=np.array([7]),
        boxes=np.zeros((1, 4), np.float32),
        image=np.zeros((8, 8, 1), np.uint8),
    )
    assert len(encode(one)) - 64 < 300


def test_labels_that_are_not_the_dataset_s_are_refused() -> None:
    with pytest.raises(UserError, match="feature digits must hold 5 int64 values"):
        decode(encode(meter_example()), labels=Labels())
    with pytest.raises(UserError, match="decode needs the labels of the dataset"):
        decode(encode(meter_example()))
    with pytest.raises(UserError, match="text must be the digits, '0012x50'"):
        decode(encode(meter_example()), labels=Labels(9, "0123456789x"))
    with pytest.raises(UserError, match="the alphabet must be '0123456789'"):
        check_example(meter_example(), Labels(9))
    with pytest.raises(UserError, match=r"digits must be 9 values, 0\.\.10 for the first 3 and 11 for the rest"):
        check_example(dataclasses.replace(meter_example(), length=3))
    with pytest.raises(UserError, match="boxes must be zeros, since has_digit_boxes is 0"):
        check_example(dataclasses.replace(make_example(), has_digit_boxes=False))


def test_whether_boxes_are_known_is_0_or_1() -> None:
    with pytest.raises(UserError, match=r"has_digit_boxes must be 0 or 1\. Received: 2"):
        decode(_with("has_digit_boxes", "int64", [2]))
