"""The pictures that a page shows: a random sample with its labels, and the preparation of one of them step by step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from beam_jobs.annotation import Annotation, RejectedError
from beam_jobs.job.pictures import Read, read_picture
from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox, CropSpec, crop_box, union, window
from tfrecords.images.decode import PictureError, cut, decode_picture

ROWS, COLUMNS = 3, 5
"""Size of the grid of pictures."""
MOST_JITTERS = 5
"""Largest number of windows that are drawn."""
_GRID_SIDE, _STEP_SIDE = 200, 300
"""Larger side of a picture in the grid and of one in the steps, pixels."""
_BOX, _CROP, _SHADE = (255, 196, 0), (0, 200, 255), 96
"""Colours of the boxes of characters and of crops; grey of what is outside the picture."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """One picture of the grid.

    Attributes:
      key: Key of the annotation.
      text: Number; empty if it is not known.
      image: The picture, scaled, with its boxes: (height, width, 3) uint8.
      size: Height and width of the picture, pixels.
    """

    key: str
    text: str
    image: Pixels
    size: tuple[int, int]


@dataclass(frozen=True)
class Step:
    """One step of the preparation.

    Attributes:
      title: What is done.
      detail: Figures of it.
      images: Images to show, each (height, width, 1 or 3) uint8.
    """

    title: str
    detail: str
    images: tuple[Pixels, ...]


@dataclass(frozen=True)
class Gallery:
    """What is shown of the pictures.

    Attributes:
      grid: Pictures of the grid.
      steps: Preparation of the picture `key`; empty if there is none.
      key: Key of that picture.
      damaged: Pictures of the sample that could not be decoded, and are not shown.
    """

    grid: tuple[Shown, ...]
    steps: tuple[Step, ...]
    key: str
    damaged: int


def make_gallery(sample: Iterable[Annotation], read: Read, upright: bool, spec: CropSpec, seed: int) -> Gallery:
    """Returns the gallery of a sample, the first that can be decoded.

    Args:
      sample: Annotations in random order.
      read: Function that returns the picture of a subset and a name.
      upright: Whether pictures are turned as their files say.
      spec: Geometry of crops.
      seed: Random seed of the jitter.
    """
    grid: list[Shown] = []
    shown: list[Annotation] = []
    damaged = 0
    for annotation in sample:
        if len(grid) == ROWS * COLUMNS:
            break
        try:
            pixels = _pixels(annotation, read, upright)
        except (RejectedError, PictureError):
            damaged += 1
            continue
        drawn = drawn_boxes(pixels, annotation.placed, _GRID_SIDE)
        grid.append(Shown(annotation.key, annotation.text, drawn, pixels.shape[:2]))
        shown.append(annotation)
    # Several characters with boxes show the most. Read again, since fifteen large pictures would need gigabytes.
    for annotation in sorted(shown, key=lambda one: -min(len(one.boxes), 2)):
        try:
            steps = preparation(annotation, _pixels(annotation, read, upright), spec, seed)
        except UserError:
            continue  # a box outside the picture, which prepare rejects
        return Gallery(tuple(grid), tuple(steps), annotation.key, damaged)
    return Gallery(tuple(grid), (), "", damaged)


def _pixels(annotation: Annotation, read: Read, upright: bool) -> Pixels:
    """Returns the pixels of an annotation's picture: (height, width, 1 or 3) uint8.

    Raises:
      RejectedError: It cannot be read.
      PictureError: It cannot be decoded.
    """
    picture = read_picture(annotation.key, lambda: read(annotation.picture))
    return picture if isinstance(picture, np.ndarray) else decode_picture(picture, annotation.key, upright)


def drawn_boxes(
    pixels: Pixels,
    boxes: Sequence[BoundingBox],
    side: int,
    colour: tuple[int, int, int] = _BOX,
    around: BoundingBox | None = None,
) -> Pixels:
    """Returns a picture with boxes, scaled down to the page: (height, width, 3) uint8.

    Args:
      pixels: Picture, (height, width, 1 or 3) uint8.
      boxes: Boxes to draw.
      side: Larger side of the result, pixels, if the picture is larger.
      colour: Red, green and blue of their lines.
      around: Part to show, which may be larger than the picture: it is grey there. None for the complete picture.
    """
    height, width = pixels.shape[:2]
    part = around or BoundingBox(0, 0, height, width)
    scale = min(1.0, side / max(part.height, part.width))
    # Small pictures are enlarged by whole pixels, so that a line is thinner than a pixel of theirs.
    if part.height * 2 <= side and part.width * 2 <= side:
        scale = float(side // max(part.height, part.width, 1))
    image = Image.fromarray(np.ascontiguousarray(to_channels(pixels, 3)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    canvas = Image.new("RGB", (max(1, round(part.width * scale)), max(1, round(part.height * scale))), (_SHADE,) * 3)
    canvas.paste(image, (round(-part.xmin * scale), round(-part.ymin * scale)))
    draw = ImageDraw.Draw(canvas)
    limits = np.array([canvas.height, canvas.width, canvas.height, canvas.width]) + 1
    for box in boxes:
        # Lines of boxes that reach far outside lie just outside.
        edges = (np.array(box) - [part.ymin, part.xmin] * 2) * scale
        ymin, xmin, ymax, xmax = np.clip(edges, -2, limits).tolist()
        draw.rectangle((xmin, ymin, max(xmax - 1, xmin), max(ymax - 1, ymin)), outline=colour)
    return np.asarray(canvas)


def preparation(annotation: Annotation, pixels: Pixels, spec: CropSpec, seed: int) -> list[Step]:
    """Returns the steps of a picture's preparation, with the functions that `prepare` calls.

    Args:
      annotation: Annotation of the picture.
      pixels: Picture, (height, width, 1 or 3) uint8.
      spec: Geometry of crops.
      seed: Random seed of the jitter.

    Raises:
      UserError: A box lies outside the picture.
    """
    height, width = pixels.shape[:2]
    box = crop_box(annotation.placed, spec.growth, height, width)
    steps = _placed_steps(annotation, pixels, spec, box) if annotation.placed else _whole_steps(pixels)
    # Without boxes, prepare stores the complete picture and no window of it, which would cut the number.
    shape = spec.crop_shape if annotation.placed else spec.record_shape
    crop = cut(pixels, box, shape)
    if crop.shape[:2] != (box.height, box.width):
        steps.append(Step("Resized", f"{_size(box.height, box.width)} to {_size(*shape)} pixels", (crop,)))
    if annotation.placed and spec.jitters:
        count = min(spec.jitters, MOST_JITTERS)
        offsets = [spec.jitter(seed, f"{annotation.key}#{index}") for index in range(count)]
        windows = tuple(window(crop, offset, spec.record_shape) for offset in offsets)
        steps.append(Step("Jittered", _jitter_detail(spec, offsets), windows))
    return steps


def _placed_steps(annotation: Annotation, pixels: Pixels, spec: CropSpec, box: BoundingBox) -> list[Step]:
    """Returns the steps up to the crop of a number with boxes."""
    height, width = pixels.shape[:2]
    whole = union(annotation.placed)
    grown = whole.grow(spec.growth)
    around = union([BoundingBox(0, 0, height, width), grown])
    count = len(annotation.boxes)
    what = f"{count} character{'s' * (count > 1)}" if count else "the number"
    boxes = f"of {what}, in a picture of {_size(height, width)} pixels"
    return [
        Step("Boxes", boxes, (drawn_boxes(pixels, annotation.placed, _STEP_SIDE),)),
        Step("Union", f"{_size(whole.height, whole.width)} pixels", (drawn_boxes(pixels, [whole], _STEP_SIDE, _CROP),)),
        Step(
            "Grown",
            f"by {100 * spec.growth:g} %, to {_size(grown.height, grown.width)} pixels",
            (drawn_boxes(pixels, [grown], _STEP_SIDE, _CROP, around),),
        ),
        Step(
            "Clipped",
            f"to whole pixels of the picture: {_size(box.height, box.width)}",
            (drawn_boxes(pixels, [box], _STEP_SIDE, _CROP),),
        ),
    ]


def _whole_steps(pixels: Pixels) -> list[Step]:
    """Returns the step up to the crop of a number without boxes."""
    detail = f"{_size(*pixels.shape[:2])} pixels: without a box, the picture is the number"
    return [Step("Complete picture", detail, (drawn_boxes(pixels, (), _STEP_SIDE),))]


def _jitter_detail(spec: CropSpec, offsets: Sequence[tuple[int, int]]) -> str:
    """Returns the figures of the last step."""
    places = "; ".join(f"{x}, {y}" for y, x in offsets)
    more = f" and {spec.jitters - len(offsets)} more" if spec.jitters > len(offsets) else ""
    return f"windows of {_size(*spec.record_shape)} pixels at x, y = {places}{more}"


def _size(height: float, width: float) -> str:
    return f"{width:g} x {height:g}"
