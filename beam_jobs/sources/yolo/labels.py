"""One label file of a YOLO data set: rows of class and relative box.

The rows are `class x_centre y_centre width height`, relative to the picture's size
(https://docs.ultralytics.com/datasets/detect/).
"""

from contextlib import suppress

from beam_jobs.sources.marks import UNKNOWN_CLASS, Fault, Mark, is_other_class
from tfrecords.errors import printable
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox

OTHER_TASKS = ("rotated_box", "polygon", "prediction")
"""Reasons of rows that another task's data set has: if all rows are so, the data set is refused."""
_LEAST, _MOST = -0.01, 1.01
"""Range of relative numbers, 0 to 1 and what rounding adds: as in Ultralytics' `verify_image_label`."""
_HEAD_BYTES = 1 << 18
"""Bytes read of a file in search of its size and orientation; EXIF data, of at most 64 KiB, precede the pixels."""
_SIZE_FIRST = (b"\x89PNG", b"\xff\xd8")
"""First bytes of PNG and JPEG, whose size and orientation come before the pixels."""
_RULE = "A row must be a class, and a box's centre, width and height relative to the picture"
_ROW = f"{_RULE}: five numbers."


def parse_labels(data: bytes, characters: dict[str, str], classes: dict[str, str]) -> list[Mark]:
    """Returns the annotations of a label file, boxes relative to the picture's height and width.

    Args:
      data: Content of the file.
      characters: Characters of the classes that are one, by the number that the file has.
      classes: Names of all classes by number.
    """
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        return [Mark("", "", None, None, Fault("damaged", "A label file must be UTF-8.", error))]
    marks = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        values = line.split()
        if not values:
            continue
        mark = _mark(number, values, characters, classes)
        key = " ".join(values)
        if key in seen and not mark.fault:
            fault = Fault("duplicate_annotation", "A box must have one row.", f"line {number}: {key}")
            mark = Mark("", "", mark.box, None, fault)
        seen.add(key)
        marks.append(mark)
    return marks


def _mark(number: int, values: list[str], characters: dict[str, str], classes: dict[str, str]) -> Mark:
    """Returns the annotation of a row."""
    received = printable(f"line {number}: {' '.join(values)[:120]}")
    if len(values) != 5:
        return Mark("", "", None, None, _other_task(len(values), received))
    try:
        key, x, y, width, height = map(float, values)
    except ValueError:
        return Mark("", "", None, None, Fault("damaged", _ROW, received))
    if not (_LEAST <= x <= _MOST and _LEAST <= y <= _MOST and _LEAST <= width <= _MOST and _LEAST <= height <= _MOST):
        return Mark("", "", None, None, Fault("bad_box", f"{_RULE}, 0 to 1.", received))
    if width <= 0 or height <= 0:
        return Mark("", "", None, None, Fault("empty_box", "A box must have width and height above 0.", received))
    box = BoundingBox(y - height / 2, x - width / 2, y + height / 2, x + width / 2)
    name = values[0] if values[0] in characters or not key.is_integer() else str(int(key))
    if name not in characters:
        known = f" ({printable(classes[name])})" if name in classes else ""
        rule = "The class of a box must be one of the data set's characters."
        received = f"line {number}: class {printable(name)}{known}"
        return Mark("", "", box, None, Fault(UNKNOWN_CLASS, rule, received, is_other_class(classes.get(name, ""))))
    return Mark(characters[name], "", box)


def _other_task(count: int, received: str) -> Fault:
    """Returns the fault of a row that has not five values."""
    if count == 6:
        return Fault("prediction", f"{_ROW} A sixth is a model's confidence, and its answers are no labels.", received)
    if count == 9:
        return Fault("rotated_box", f"{_ROW} Nine are a rotated box: export upright boxes.", received)
    if count > 6 and count % 2:
        return Fault("polygon", f"{_ROW} More are the corners of an outline: export boxes.", received)
    return Fault("damaged", _ROW, received)


def read_size(picture: Place, upright: bool = True) -> tuple[int, int]:
    """Returns the height and width of a picture, pixels, as `prepare` decodes it; only its header is decoded.

    Args:
      picture: File of the picture.
      upright: Whether the picture is turned as its file says.

    Raises:
      OSError: The picture is missing or cannot be read.
      PictureError: The file is no picture, damaged, too large, or of a format without an installed decoder.
    """
    from tfrecords.images.decode import PictureError, picture_size

    with picture.open() as stream:
        head = stream.read(_HEAD_BYTES)
        if head.startswith(_SIZE_FIRST):
            with suppress(PictureError):
                return picture_size(head, picture.name, upright)
        return picture_size(head + stream.read(), picture.name, upright)
