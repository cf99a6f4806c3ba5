"""DigitExample to and from the bytes of a tf.train.Example, without TensorFlow.

`tfrecords.record.schema` lists the features.
"""

import io
import math
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray
from PIL import Image

from tfrecords.errors import UserError
from tfrecords.record import wire
from tfrecords.record.fast_decode import decode_by_layout
from tfrecords.record.labels import MOST_LENGTH, Labels, spell
from tfrecords.record.schema import DYNAMIC_IMAGE, NEW_IN_2, DigitExample, features_of

PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
"""Signature of a PNG file, and length and name of its first chunk (PNG specification, 5.2 and 11.2.2)."""
_PNG_HEAD = struct.Struct(">16sIIBB")
_PNG_END = b"IEND\xaeB`\x82"
_OF_SCENES = "content_size"
"""A feature that only records of scenes have, at least one value of it; see `tfrecords.record.scene`."""
ENCODINGS = ("raw", "png")
"""Encodings of the pixels in a record: raw (fast, twice as large) or a PNG file."""


def _make_example_class() -> Any:
    """Builds tf.train.Example in a separate pool, so that it cannot clash with TensorFlow's.

    Field numbers are from tensorflow/core/example/{example,feature}.proto.
    """
    kinds = descriptor_pb2.FieldDescriptorProto
    proto = descriptor_pb2.FileDescriptorProto(name="streetdigits/example.proto", package="tensorflow", syntax="proto3")

    def add(parent: Any, name: str, number: int, kind: int, type_name: str = "", repeated: bool = False) -> None:
        label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        parent.field.add(name=name, number=number, type=kind, type_name=type_name or None, label=label)

    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        add(proto.message_type.add(name=name), "value", 1, kind, repeated=True)
    feature = proto.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes", "float", "int64"), start=1):
        add(feature, f"{name}_list", number, kinds.TYPE_MESSAGE, f".tensorflow.{name.title()}List")
        feature.field[-1].oneof_index = 0
    features = proto.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    add(entry, "key", 1, kinds.TYPE_STRING)
    add(entry, "value", 2, kinds.TYPE_MESSAGE, ".tensorflow.Feature")
    add(features, "feature", 1, kinds.TYPE_MESSAGE, ".tensorflow.Features.FeatureEntry", repeated=True)
    example = proto.message_type.add(name="Example")
    add(example, "features", 1, kinds.TYPE_MESSAGE, ".tensorflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_Example = _make_example_class()


def encode(example: DigitExample, encoding: str = "raw", dynamic_shape: bool = False) -> bytes:
    """Returns the record of one example; equal examples give equal bytes.

    Args:
      example: Example to encode. It is not checked here (see `check_example`).
      encoding: Encoding of the pixels, one of `ENCODINGS`.
      dynamic_shape: Whether the dataset holds raw images of several sizes.
    """
    return b"".join(encode_in_parts(example, encoding, dynamic_shape))


def encode_in_parts(
    example: DigitExample, encoding: str = "raw", dynamic_shape: bool = False
) -> tuple[bytes, bytes, bytes]:
    """Returns the record in three parts: before the pixels, the pixels, and after the pixels.

    `tfrecords.files.framing.frame` accepts the parts, which avoids a copy of the pixels.

    Args:
      example: Example to encode. It is not checked here (see `check_example`).
      encoding: Encoding of the pixels, one of `ENCODINGS`.
      dynamic_shape: Whether the dataset holds raw images of several sizes.
    """
    pixels = example.image.tobytes() if encoding == "raw" else png_bytes(example.image)
    key, offset = example.key.encode(), tuple(example.jitter_offset.tolist())
    boxes = example.boxes.astype("<f4", copy=False).tobytes()
    placed = (tuple(example.crop_box.tolist()), tuple(example.source_size.tolist()))
    number = (tuple(example.digits.tolist()), example.length, example.alphabet, example.has_digit_boxes)
    before, after, end = _shared_features(*placed, *number, encoding, example.image.shape)
    head = wire.head(DYNAMIC_IMAGE if dynamic_shape else "image", "bytes", len(pixels))
    start = (wire.head("boxes", "float", len(boxes)), boxes, before, *((after, head) if dynamic_shape else (head,)))
    rest = (wire.int64_feature("jitter_offset", offset), wire.head("key", "bytes", len(key)), key, end)
    first, last = b"".join(start), b"".join(rest if dynamic_shape else (after, *rest))
    return wire.example_head(len(first) + len(pixels) + len(last)) + first, pixels, last


@lru_cache(64)
def _shared_features(
    crop_box: tuple[int, ...],
    source_size: tuple[int, ...],
    digits: tuple[int, ...],
    length: int,
    alphabet: str,
    has_digit_boxes: bool,
    encoding: str,
    shape: tuple[int, ...],
) -> tuple[bytes, bytes, bytes]:
    """Returns the features before and after the pixels and at the end, which all jitters of a picture share."""
    text = spell(alphabet, digits[:length]).encode()
    before = wire.int64_feature("crop_box", crop_box) + wire.int64_feature("digits", digits)
    before += wire.int64_feature(NEW_IN_2, (int(has_digit_boxes),))
    after = wire.head("image/format", "bytes", len(encoding)) + encoding.encode()
    after += wire.int64_feature("image/shape", shape)
    end = wire.int64_feature("length", (length,)) + wire.int64_feature("source_size", source_size)
    return before, after, end + wire.head("text", "bytes", len(text)) + text


def features_in(data: bytes, where: object = "record") -> dict[str, list[bytes] | list[float] | list[int]]:
    """Returns the values of every feature of a record by name, also of those that no schema has.

    Raises:
      UserError: The data is no tf.train.Example.
    """
    record = _Example()
    try:
        record.ParseFromString(data)
    except message.DecodeError as error:
        raise UserError(f"{where}: not a tf.train.Example.", f"{len(data)} bytes") from error
    kinds = {name: feature.WhichOneof("kind") for name, feature in sorted(record.features.feature.items())}
    return {
        name: list(getattr(record.features.feature[name], kind).value) if kind else [] for name, kind in kinds.items()
    }


def decode(
    data: bytes, where: object = "record", labels: Labels | None = None, version: int | None = None
) -> DigitExample:
    """Returns the example of one record, its arrays read-only.

    Args:
      data: Serialized record of schema version 1 or 2, from `encode` or any other writer of the same features.
      where: Location of the record in error messages.
      labels: What the dataset's numbers may be, as its manifest says; None for digits 0..9, as many as the record has.
      version: Schema version of the dataset, as its manifest says; None accepts records of each.

    Raises:
      UserError: The data is no tf.train.Example, or a feature is missing or malformed.
    """
    return decode_by_layout(data, labels, version) or decode_with_protobuf(data, where, labels, version)


def decode_with_protobuf(
    data: bytes, where: object, labels: Labels | None = None, version: int | None = None
) -> DigitExample:
    """Returns the example of any record.

    Args:
      data: Serialized record.
      where: Location of the record in error messages.
      labels: What the dataset's numbers may be; None for digits 0..9, as many as the record has.
      version: Schema version of the dataset, as its manifest says; None accepts records of each.

    Raises:
      UserError: The data is no tf.train.Example, or a feature is missing or malformed.
    """
    record = _Example()
    try:
        record.ParseFromString(data)
    except message.DecodeError as error:
        raise UserError(f"{where}: not a tf.train.Example.", f"{len(data)} bytes") from error
    features = record.features.feature
    if _OF_SCENES in features:
        raise UserError(f"{where}: a record of a dataset of task find is read by decode_scene.", f"a {_OF_SCENES}")
    known = labels or _labels_of(features)
    expected_features = features_of(known)

    def values(name: str, source: str | None = None) -> Any:
        feature = expected_features[name]
        found = getattr(features[source or name], f"{feature.kind}_list").value if (source or name) in features else ()
        expected = math.prod(feature.shape)
        if len(found) != expected:
            raise UserError(f"{where}: feature {name} must hold {expected} {feature.kind} values.", len(found))
        return found

    key, encoding = (values(name)[0].decode(errors="replace") for name in ("key", "image/format"))
    pixels = values("image", DYNAMIC_IMAGE if DYNAMIC_IMAGE in features else None)[0]
    # Records of schema version 1 have a box for each digit, and do not say so.
    has_digit_boxes = 1 if NEW_IN_2 not in features and (version or 1) == 1 else values(NEW_IN_2)[0]
    if has_digit_boxes not in (0, 1):
        raise UserError(f"{where} ({key}): {NEW_IN_2} must be 0 or 1.", has_digit_boxes)
    example = DigitExample(
        key=key,
        image=_pixels(pixels, encoding, tuple(values("image/shape")), f"{where} ({key})"),
        digits=np.array(values("digits"), np.int64),
        length=int(values("length")[0]),
        crop_box=np.array(values("crop_box"), np.int64),
        jitter_offset=np.array(values("jitter_offset"), np.int64),
        source_size=np.array(values("source_size"), np.int64),
        boxes=np.array(values("boxes"), np.float32).reshape(-1, 4),
        has_digit_boxes=bool(has_digit_boxes),
        alphabet=known.alphabet,
    )
    _check_text(example, values("text")[0].decode(errors="replace"), f"{where} ({key})", labels is None)
    return example


def _labels_of(features: Any) -> Labels:
    """Returns digits 0..9, as many as a record has rows."""
    rows = max(len(features["digits"].int64_list.value), len(features["boxes"].float_list.value) // 4)
    return Labels(min(max(1, rows), MOST_LENGTH))


def _check_text(example: DigitExample, text: str, where: str, is_guess: bool) -> None:
    """Checks that the text of a record is that of its digits.

    Args:
      example: Example of the record.
      text: Text of the record.
      where: Location and key, for the message.
      is_guess: Whether the alphabet of the example is the default, since nobody named the dataset's.

    Raises:
      UserError: It is another one, or the padding shows that the alphabet is.
    """
    used, padding, pad = example.digits[: example.length], example.digits[example.length :], len(example.alphabet)
    if is_guess and not (np.all(used < pad) and np.all(padding == pad)):
        rule = f"{where}: decode needs the labels of the dataset, whose alphabet is not {example.alphabet}."
        raise UserError(rule, example.digits.tolist())
    if text != example.text:
        raise UserError(f"{where}: text must be the digits, {example.text!r}.", text)


def find_pixels(data: bytes) -> tuple[slice, bool]:
    """Returns the range of the pixels in a valid record, and whether they are raw."""
    features = _Example.FromString(data).features.feature
    name = DYNAMIC_IMAGE if DYNAMIC_IMAGE in features else "image"
    pixels = features[name].bytes_list.value[0]
    # If another feature before it holds the same bytes, they are the same pixels still.
    start = data.index(pixels)
    return slice(start, start + len(pixels)), features["image/format"].bytes_list.value[0] == b"raw"


def png_shape(data: bytes) -> tuple[int, ...] | None:
    """Returns the shape in the header of an 8-bit PNG file, or None if it is not grey or RGB, or is truncated.

    The header is described in https://www.w3.org/TR/png/#11IHDR.
    """
    if len(data) < _PNG_HEAD.size or not data.endswith(_PNG_END):
        return None
    start, width, height, depth, colour = _PNG_HEAD.unpack_from(data)
    channels = {0: 1, 2: 3}.get(colour)
    return (height, width, channels) if channels and start == PNG_START and depth == 8 else None


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Returns an image (height, width, 1 or 3), uint8, as a PNG file."""
    buffer = io.BytesIO()
    # Half the time of zlib's default level, for 6 % more bytes.
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _pixels(data: bytes, encoding: str, shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    if encoding == "png":
        try:
            # Pillow fills missing rows with black.
            if not data.endswith(_PNG_END):
                raise ValueError
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                image = np.asarray(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{where}: image must be a PNG file.", f"{len(data)} bytes") from error
        image = image.reshape(*image.shape[:2], -1)
    elif encoding == "raw":
        if min(shape) < 1 or len(data) != math.prod(shape):
            raise UserError(f"{where}: image must hold {shape} bytes.", f"{len(data)} bytes")
        image = np.frombuffer(data, np.uint8).reshape(shape)
    else:
        raise UserError(f"{where}: image/format must be one of {ENCODINGS}.", encoding)
    if image.shape != shape:
        raise UserError(f"{where}: image must have the shape in image/shape, {shape}.", image.shape)
    return image
