"""Decoding by layout, without protobuf: it gives what protobuf gives, or leaves the record to it."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.examples import LABELS, assert_equal_examples, make_example
from tfrecords.errors import UserError
from tfrecords.record.codec import decode, decode_with_protobuf, encode
from tfrecords.record.fast_decode import UnknownLayoutError, decode_by_layout, split_values
from tfrecords.record.labels import Labels
from tfrecords.record.schema import DigitExample


@pytest.mark.parametrize("dynamic_shape", [False, True])
@pytest.mark.parametrize("size", [1, 3, 6, 7, 54, 200])
@pytest.mark.parametrize("digits", [(7,), (1, 2, 3, 4, 5)])
def test_a_raw_record_is_decoded_as_protobuf_decodes_it(
    size: int, dynamic_shape: bool, digits: tuple[int, ...]
) -> None:
    data = encode(make_example("train/1.png#3", digits, size), dynamic_shape=dynamic_shape)
    example = decode_by_layout(data)
    assert example is not None
    assert_equal_examples(example, decode_with_protobuf(data, "record"))


def test_its_arrays_cannot_be_written_to() -> None:
    example = decode_by_layout(encode(make_example()))
    assert example is not None
    for array in (example.image, example.digits, example.boxes, example.crop_box, example.source_size):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1


def test_what_is_written_otherwise_is_left_to_protobuf() -> None:
    record = tf.train.Example.FromString(encode(make_example()))
    record.features.feature["another"].int64_list.value.append(1)
    assert decode_by_layout(record.SerializeToString()) is None
    assert decode_by_layout(encode(make_example(), "png")) is None
    assert decode_by_layout(b"") is None


METER = Labels(9, "0123456789.-")


def make_meter() -> DigitExample:
    """Returns a number of nine characters whose boxes are not known, in a grey image."""
    example, digits = make_example(size=3), METER.digits("0012.5-07")
    unknown = replace(example, boxes=np.zeros((9, 4), np.float32), has_digit_boxes=False, alphabet=METER.alphabet)
    return replace(unknown, digits=digits, length=9, image=example.image[:, :2, :1])


@pytest.mark.parametrize(
    ("data", "labels"), [(encode(make_example(size=3)), None), (encode(make_meter()), METER)], ids=["house", "meter"]
)
def test_a_damaged_record_is_decoded_as_protobuf_decodes_it_or_not_at_all(data: bytes, labels: Labels | None) -> None:
    generator = np.random.default_rng(0)
    decoded = 0
    for _ in range(2500):
        damaged = bytearray(data)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            damaged[place] = generator.choice([0, 1, 10, 18, 26, 127, 128, 255, int(generator.integers(256))])
        if generator.integers(10) == 0:
            del damaged[int(generator.integers(len(damaged))) :]
        example = decode_by_layout(bytes(damaged), labels)
        if example is not None:
            decoded += 1
            assert_equal_examples(example, decode_with_protobuf(bytes(damaged), "record", labels))
    assert 50 < decoded < 2450


def test_a_negative_number_is_left_to_protobuf() -> None:
    record = tf.train.Example.FromString(encode(make_example()))
    record.features.feature["crop_box"].int64_list.value[0] = -5
    data = record.SerializeToString(deterministic=True)
    assert decode_by_layout(data) is None
    assert decode_with_protobuf(data, "record").crop_box[0] == -5


def test_a_wrong_text_is_named() -> None:
    data = encode(make_example(digits=(1, 9))).replace(b"\x0a\x0219", b"\x0a\x0218")
    assert decode_by_layout(data) is None
    with pytest.raises(UserError, match=r"text must be the digits, '19'\. Received: 18"):
        decode_with_protobuf(data, "record")


@pytest.mark.parametrize("text", ["0012.5-07", "1234"])
def test_a_record_of_another_alphabet_is_refused_without_its_labels(text: str) -> None:
    meter = replace(make_meter(), digits=METER.digits(text), length=len(text))
    assert decode(encode(meter), labels=METER).text == text
    rule = r"train/1.png#0\): decode needs the labels of the dataset, whose alphabet is not 0123456789\. Received: \["
    with pytest.raises(UserError, match=rule):
        decode(encode(meter))


def test_a_record_that_is_cut_off_anywhere_is_left_to_protobuf() -> None:
    data = encode(make_example())
    assert decode_by_layout(data) is not None
    assert all(decode_by_layout(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize("count", [19, 21, 40])
def test_boxes_of_another_number_are_left_to_protobuf(count: int) -> None:
    record = tf.train.Example.FromString(encode(make_example()))
    record.features.feature["boxes"].float_list.value[:] = [0.0] * count
    with pytest.raises(UnknownLayoutError):
        split_values(record.SerializeToString(deterministic=True), LABELS)
    with pytest.raises(UserError, match=f"feature boxes must hold 20 float values.*Received: {count}"):
        decode(record.SerializeToString(deterministic=True), labels=LABELS)


def test_a_png_s_place_is_known_too() -> None:
    for size in (3, 60):
        data = encode(make_example(size=size), "png")
        layout, (key, *_) = split_values(data)
        assert (layout.is_raw, layout.shape, key) == (False, (size, size, 3), b"train/1.png#0")
        np.testing.assert_array_equal(tf.io.decode_png(data[layout.pixels]), make_example(size=size).image)
    record = tf.train.Example.FromString(data)
    record.features.feature["image"].bytes_list.value[0] = b""
    with pytest.raises(UnknownLayoutError):
        split_values(record.SerializeToString(deterministic=True))
