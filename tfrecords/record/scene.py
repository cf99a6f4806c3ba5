"""One picture with the places of its numbers, for models that find them: the example and the bytes of its record.

The lists are those of TensorFlow Datasets' `Sequence` of features, with boxes as its `BBoxFeature`: relative to the
image, ymin, xmin, ymax, xmax.
"""

import io
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from google.protobuf import message
from numpy.typing import NDArray
from PIL import Image

from tfrecords.errors import UserError
from tfrecords.record.codec import ENCODINGS, _Example, png_bytes
from tfrecords.record.labels import DIGITS
from tfrecords.record.schema import Feature

SCENE_ENCODINGS = ("jpeg", *ENCODINGS)
"""Encodings of the pixels of a scene: a JPEG file of quality 95 too, a fifth of the size of a PNG."""
_JPEG_QUALITY = 95
_JPEG_START = b"\xff\xd8"
SCENE_FEATURES = {
    "key": Feature("bytes", (), "subset and picture, UTF-8: train/123.png"),
    "image": Feature("bytes", (), "uint8 pixels, row by row, or a JPEG or PNG file"),
    "image/format": Feature("bytes", (), "jpeg, png or raw"),
    "image/shape": Feature("int64", (3,), "height, width, channels"),
    "source_size": Feature("int64", (2,), "height, width of the source picture, pixels"),
    "content_size": Feature("int64", (2,), "height, width of the picture in the image's upper left corner, pixels"),
    "numbers/text": Feature("bytes", (-1,), "each number, UTF-8"),
    "numbers/bbox": Feature("float", (-1, 4), "ymin, xmin, ymax, xmax of each number, shares of the image"),
    "digits/label": Feature("int64", (-1,), "index in the alphabet of each character whose box is known"),
    "digits/number": Feature("int64", (-1,), "index of the number that each of these characters belongs to"),
    "digits/bbox": Feature("float", (-1, 4), "ymin, xmin, ymax, xmax of each of these characters, shares of the image"),
}
"""Features of a scene's record; a shape that begins with -1 is a list of any length, also of none."""


@dataclass(frozen=True, eq=False)
class SceneExample:
    """One picture, fitted into an image, with the boxes of its numbers.

    Attributes:
      key: Subset and picture, such as `train/123.png`; unique in a dataset.
      image: Pixels: shape (height, width, channels), uint8, 0..255. The picture is in the upper left corner, and the
        rest is 0.
      texts: The numbers; none for a picture without a number.
      boxes: ymin, xmin, ymax, xmax of each number in pixels of `image`: shape (numbers, 4), float32.
      digit_labels: Index in `alphabet` of each character whose box is known: shape (characters,), int64.
      digit_numbers: Index in `texts` of the number of each of these characters: shape (characters,), int64.
      digit_boxes: Box of each of these characters, as `boxes`: shape (characters, 4), float32.
      source_size: Height and width of the source picture, pixels: shape (2,), int64.
      content_size: Height and width of the picture in `image`, pixels: shape (2,), int64.
      alphabet: Characters that numbers are made of. It belongs to the dataset, and is no feature of a record.
      file: JPEG or PNG file of the image, as the record has it; empty for raw pixels, and if it comes from no record.
    """

    key: str
    image: NDArray[np.uint8]
    texts: tuple[str, ...]
    boxes: NDArray[np.float32]
    digit_labels: NDArray[np.int64]
    digit_numbers: NDArray[np.int64]
    digit_boxes: NDArray[np.float32]
    source_size: NDArray[np.int64]
    content_size: NDArray[np.int64]
    alphabet: str = DIGITS
    file: bytes = b""

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.image.shape))
        return f"<SceneExample {self.key}: {', '.join(self.texts) or 'no number'}, image of {size} {self.image.dtype}>"

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes by name, without the alphabet and the file."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_FEATURES}


_NOT_FEATURES = ("alphabet", "file")
SCENE_NAMES = tuple(field.name for field in fields(SceneExample) if field.name not in _NOT_FEATURES)
"""The attributes of `SceneExample` without the alphabet and the file, in its order."""


def encode_scene(example: SceneExample, encoding: str = "jpeg", file: bytes = b"") -> bytes:
    """Returns the record of one scene; equal scenes give equal bytes.

    Args:
      example: Scene to encode. It is not checked here.
      encoding: Encoding of the pixels, one of `SCENE_ENCODINGS`.
      file: File of these pixels in this encoding, to store as it is; empty to encode the pixels.
    """
    record = _Example()
    features = record.features.feature
    size = np.tile(np.array(example.image.shape[:2], np.float32), 2)
    features["key"].bytes_list.value.append(example.key.encode())
    features["image"].bytes_list.value.append(file or _encoded(example.image, encoding))
    features["image/format"].bytes_list.value.append(encoding.encode())
    for name, integers in (
        ("image/shape", example.image.shape),
        ("source_size", example.source_size.tolist()),
        ("content_size", example.content_size.tolist()),
        ("digits/label", example.digit_labels.tolist()),
        ("digits/number", example.digit_numbers.tolist()),
    ):
        features[name].int64_list.value.extend(integers)
    features["numbers/text"].bytes_list.value.extend(text.encode() for text in example.texts)
    features["numbers/bbox"].float_list.value.extend((example.boxes / size).ravel().tolist())
    features["digits/bbox"].float_list.value.extend((example.digit_boxes / size).ravel().tolist())
    encoded: bytes = record.SerializeToString(deterministic=True)
    return encoded


def decode_scene(data: bytes, where: object = "record", alphabet: str = DIGITS) -> SceneExample:
    """Returns the scene of one record.

    Args:
      data: Serialized record.
      where: Location of the record in error messages.
      alphabet: Characters that numbers of the dataset are made of.

    Raises:
      UserError: The data is no tf.train.Example, or a feature is missing or malformed.
    """
    found = _parse(data, where)
    key, texts = _label(found)
    encoding = found["image/format"][0].decode(errors="replace")
    shape = tuple(found["image/shape"])
    image = _decoded(found["image"][0], encoding, shape, f"{where} ({key})")
    size = np.tile(np.array(shape[:2], np.float32), 2)
    example = SceneExample(
        key=key,
        image=image,
        texts=texts,
        boxes=np.array(found["numbers/bbox"], np.float32).reshape(-1, 4) * size,
        digit_labels=np.array(found["digits/label"], np.int64),
        digit_numbers=np.array(found["digits/number"], np.int64),
        digit_boxes=np.array(found["digits/bbox"], np.float32).reshape(-1, 4) * size,
        source_size=np.array(found["source_size"], np.int64),
        content_size=np.array(found["content_size"], np.int64),
        alphabet=alphabet,
        file=b"" if encoding == "raw" else found["image"][0],
    )
    check_scene(example, where)
    return example


def decode_scene_label(data: bytes, where: object = "record") -> tuple[str, tuple[str, ...]]:
    """Returns the key and the numbers of one record, whose pixels are not decoded.

    Raises:
      UserError: The data is no tf.train.Example, or a feature is missing or malformed.
    """
    return _label(_parse(data, where))


def decode_scene_facts(data: bytes, where: object = "record") -> tuple[str, tuple[str, ...], int]:
    """Returns the key, the numbers and the height of the source picture of one record, without decoding the pixels.

    Raises:
      UserError: The data is no tf.train.Example, or a feature is missing or malformed.
    """
    found = _parse(data, where)
    return (*_label(found), found["source_size"][0])


def _parse(data: bytes, where: object) -> dict[str, Any]:
    """Returns the values of each feature of a record."""
    record = _Example()
    try:
        record.ParseFromString(data)
    except message.DecodeError as error:
        raise UserError(f"{where}: not a tf.train.Example.", f"{len(data)} bytes") from error
    return {name: _values(record.features.feature, name, where) for name in SCENE_FEATURES}


def _label(found: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    return found["key"][0].decode(errors="replace"), tuple(
        text.decode(errors="replace") for text in found["numbers/text"]
    )


def picture_file(scene: SceneExample) -> tuple[bytes, str]:
    """Returns the image of a scene as a file, and its suffix: the file of its record, or a PNG file of its pixels."""
    data = scene.file or png_bytes(scene.image)
    return data, ".jpg" if data.startswith(_JPEG_START) else ".png"


def check_padding(scene: SceneExample, where: object = "scene") -> None:
    """Checks that the image is 0 outside the picture.

    JPEG mixes pixels of blocks of 8 x 8: of such an image, only blocks outside the picture are checked.

    Raises:
      UserError: It is not.
    """
    block = 8 if scene.file.startswith(_JPEG_START) else 1
    height, width = (-(-size // block) * block for size in scene.content_size.tolist())
    most = max(scene.image[height:].max(initial=0), scene.image[:, width:].max(initial=0))
    if most > 0:
        rule = f"{where} ({scene.key}): image must be 0 outside its content_size, {scene.content_size.tolist()}."
        raise UserError(rule, f"{most}")


def check_scene(example: SceneExample, where: object = "scene") -> None:
    """Checks a scene against the rules of `SceneExample`.

    Raises:
      UserError: The scene breaks a rule; the message names its key and the rule.
    """
    start = f"{where} ({example.key})"
    numbers, characters = len(example.texts), len(example.digit_labels)
    for name, rows in (("boxes", numbers), ("digit_boxes", characters)):
        value = getattr(example, name)
        if value.shape != (rows, 4):
            raise UserError(f"{start}: {name} must have shape ({rows}, 4).", value.shape)
        if not (np.isfinite(value).all() and (value[:, :2] < value[:, 2:]).all()):
            raise UserError(f"{start}: {name} must have a height and a width above 0.", value.tolist())
    if example.digit_numbers.shape != (characters,) or not _within(example.digit_numbers, numbers):
        rule = f"{start}: digit_numbers must be {characters} indices of numbers, 0 to below {numbers}."
        raise UserError(rule, example.digit_numbers.tolist())
    if not _within(example.digit_labels, len(example.alphabet)):
        rule = f"{start}: digit_labels must be indices of characters, 0 to below {len(example.alphabet)}."
        raise UserError(rule, example.digit_labels.tolist())
    if any(not text or set(text) - set(example.alphabet) for text in example.texts):
        raise UserError(f"{start}: texts must be of the characters {example.alphabet}.", list(example.texts))
    height, width = example.content_size
    if not (0 < height <= example.image.shape[0] and 0 < width <= example.image.shape[1]):
        rule = f"{start}: content_size must be that of a part of the image, {example.image.shape[:2]}."
        raise UserError(rule, example.content_size.tolist())


def _within(indices: NDArray[np.int64], stop: int) -> bool:
    return bool(((indices >= 0) & (indices < stop)).all())


def _values(features: Any, name: str, where: object) -> Any:
    """Returns the values of a feature, of which a list may have none."""
    feature = SCENE_FEATURES[name]
    found = getattr(features[name], f"{feature.kind}_list").value if name in features else ()
    width = int(np.prod(np.abs(feature.shape))) if feature.shape else 1
    if feature.shape[:1] == (-1,):
        if len(found) % width:
            raise UserError(f"{where}: feature {name} must hold a multiple of {width} values.", len(found))
    elif len(found) != width:
        raise UserError(f"{where}: feature {name} must hold {width} {feature.kind} values.", len(found))
    return found


def _encoded(image: NDArray[np.uint8], encoding: str) -> bytes:
    """Returns the pixels in an encoding."""
    if encoding == "raw":
        return image.tobytes()
    if encoding == "png":
        return png_bytes(image)
    buffer = io.BytesIO()
    # Without subsampled colours, whose edges would be those of 2 x 2 pixels.
    pixels = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    pixels.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _decoded(data: bytes, encoding: str, shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    """Returns the pixels of a record.

    Raises:
      UserError: They are of another encoding or shape.
    """
    if encoding not in SCENE_ENCODINGS:
        raise UserError(f"{where}: image/format must be one of {SCENE_ENCODINGS}.", encoding)
    if encoding == "raw":
        if min(shape) < 1 or len(data) != np.prod(shape):
            raise UserError(f"{where}: image must hold {shape} bytes.", f"{len(data)} bytes")
        return np.frombuffer(data, np.uint8).reshape(shape)
    try:
        with Image.open(io.BytesIO(data), formats=[encoding.upper()]) as picture:
            image = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{where}: image must be a {encoding.upper()} file.", f"{len(data)} bytes") from error
    image = image.reshape(*image.shape[:2], -1)
    if image.shape != shape:
        raise UserError(f"{where}: image must have the shape in image/shape, {shape}.", image.shape)
    return image
