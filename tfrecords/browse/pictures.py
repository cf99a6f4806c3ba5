"""Pictures of a page: as data: URIs, with marks that are drawn over them as SVG."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tfrecords.images.channels import to_channels
from tfrecords.pages.formats import visible
from tfrecords.pages.page import png_data_uri
from tfrecords.record.scene import SceneExample, picture_file
from tfrecords.record.schema import DigitExample

_THUMBNAIL = 256
"""Longest side of a thumbnail, pixels."""
_LARGEST_PNG = 30_000
"""Longest URI of a thumbnail in PNG, characters: a page has 48 of them."""
_LARGEST_SIDE = 1600
"""Longest side of a source picture on a page, pixels: a photo of 12 megapixels would be 5 MB."""
_THUMBNAIL_QUALITY, _QUALITY = 82, 92
_COLOURS = 5
"""Colours that take turns for the boxes of one picture."""


@dataclass(frozen=True)
class Mark:
    """A box over a picture.

    Attributes:
      left: Left edge, pixels of the drawing.
      top: Top edge.
      width: Width.
      height: Height.
      label: Text next to it.
      kind: Class of its colour: `c0` to `c4`, `crop` or `part`.
    """

    left: float
    top: float
    width: float
    height: float
    label: str
    kind: str


@dataclass(frozen=True)
class Drawing:
    """A picture with marks.

    Attributes:
      uri: Picture as a `data:` URI.
      width: Width of the drawing, pixels, which the marks are in.
      height: Height of the drawing, pixels.
      image_width: Width of the picture, which may end outside the drawing.
      image_height: Height of the picture.
      marks: Boxes, the last ones on top.
      is_smooth: Whether to enlarge it smoothly, as a photo.
      alt: Description.
    """

    uri: str
    width: int
    height: int
    image_width: int
    image_height: int
    marks: tuple[Mark, ...]
    is_smooth: bool
    alt: str

    @property
    def line(self) -> float:
        """Height of a letter over the picture, pixels of the drawing."""
        return 0.033 * max(self.width, self.height)


def mark(box: Sequence[float], label: str, kind: str) -> Mark:
    """Returns the mark of a box: ymin, xmin, ymax, xmax, pixels."""
    ymin, xmin, ymax, xmax = (round(float(edge), 2) for edge in box)
    return Mark(xmin, ymin, round(xmax - xmin, 2), round(ymax - ymin, 2), label, kind)


def thumbnail(example: DigitExample | SceneExample) -> str:
    """Returns the image of an example for a list; of a scene, the picture in it."""
    image = example.image
    if isinstance(example, SceneExample):
        height, width = example.content_size.tolist()
        image = image[:height, :width]
    if max(image.shape[:2]) <= _THUMBNAIL and len(uri := png_data_uri(image)) <= _LARGEST_PNG:
        return uri
    return _jpeg_uri(image, _THUMBNAIL, _THUMBNAIL_QUALITY)


def draw_example(example: DigitExample | SceneExample) -> Drawing:
    """Returns the image of an example with all boxes that its record has."""
    if isinstance(example, SceneExample):
        return _draw_scene(example)
    height, width = example.image.shape[:2]
    boxes = example.boxes[: example.length] if example.has_digit_boxes else example.boxes[:0]
    marks = [
        mark(box, character, f"c{index % _COLOURS}")
        for index, (box, character) in enumerate(zip(boxes, example.text, strict=False))
    ]
    uri = png_data_uri(example.image)
    return Drawing(uri, width, height, width, height, tuple(marks), False, f"Image of {_named([example.text])}")


def _draw_scene(scene: SceneExample) -> Drawing:
    height, width = scene.content_size.tolist()
    parts = [
        mark(box, scene.alphabet[label], "part")
        for box, label in zip(scene.digit_boxes, scene.digit_labels.tolist(), strict=True)
    ]
    numbers = [
        mark(box, visible(text), f"c{index % _COLOURS}")
        for index, (box, text) in enumerate(zip(scene.boxes, scene.texts, strict=True))
    ]
    data, suffix = picture_file(scene)
    uri = _data_uri(data, "jpeg" if suffix == ".jpg" else "png")
    alt = f"Picture of {_named(scene.texts)}"
    return Drawing(uri, width, height, scene.image.shape[1], scene.image.shape[0], (*parts, *numbers), True, alt)


def draw_source(data: bytes, name: str, marks: Sequence[Mark]) -> Drawing:
    """Returns a source picture with marks in its own pixels, as prepare sees it: turned upright, of 8 bits.

    Args:
      data: Content of its file.
      name: Name of it in error messages.
      marks: Boxes.

    Raises:
      UserError: It cannot be decoded.
    """
    # Needs the libraries of an extra, which only source pictures do.
    from tfrecords.images.decode import decode_picture

    picture = decode_picture(data, name)
    height, width = picture.shape[:2]
    uri = _jpeg_uri(picture, _LARGEST_SIDE, _QUALITY)
    return Drawing(uri, width, height, width, height, tuple(marks), True, f"Source picture {name}")


def source_thumbnail(data: bytes, name: str) -> str:
    """Returns a source picture for a list.

    Raises:
      UserError: It cannot be decoded.
    """
    from tfrecords.images.decode import decode_picture

    return _jpeg_uri(decode_picture(data, name), _THUMBNAIL, _THUMBNAIL_QUALITY)


def _named(texts: Sequence[str]) -> str:
    return f"the number {', '.join(filter(None, texts))}" if any(texts) else "no number"


def _jpeg_uri(image: NDArray[np.uint8], longest: int, quality: int) -> str:
    """Returns an image as a JPEG file whose sides have at most `longest` pixels."""
    picture = Image.fromarray(to_channels(image, 3))
    picture.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return _data_uri(stream.getvalue(), "jpeg")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
