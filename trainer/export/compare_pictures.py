"""A SavedModel compared with `predict` on encoded pictures: formats, sizes and what files have besides colours."""

import io
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from tfrecords.errors import UserError
from tfrecords.images.channels import to_channels
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.images.decode import decode_picture, evaluation_view
from trainer.export.files import predict_model
from trainer.export.saved_model import boxed_images, whole_images

GREY_TOLERANCE = 1
"""Largest allowed difference between grey values of an image and of `predict`'s. TensorFlow reduces pictures in floats,
Pillow in integers. By another inverse DCT, grey values would differ by up to 15."""
_ORIENTATION = 0x112
_SIZES = ((1, 1), (3, 2), (0.4, 0.6))
"""Heights and widths of the pictures, as multiples of the record's size."""


def compare_on_pictures(
    model: keras.Model, crop: CropSpec, output: Path, temperature: float = 1.0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the expected and the received predictions of both signatures of a SavedModel, one below the other.

    Args:
      model: Model that was exported.
      crop: How images are cut out of pictures.
      output: Folder of the SavedModel.
      temperature: Divisor of the logits in the probabilities.

    Raises:
      UserError: The images that the SavedModel cuts out differ from those of `predict`.
    """
    names, pictures, boxes = zip(*sample_pictures(crop.record_shape), strict=True)
    edges = tf.constant([(box.xmin, box.ymin, box.width, box.height) for box in boxes], tf.float32)
    inputs = {"pictures": tf.constant(pictures)}
    channels = model.input_shape[-1]
    images = [whole_images(inputs["pictures"], crop, channels), boxed_images(inputs["pictures"], edges, crop, channels)]
    for given, cut in (([[]] * len(boxes), images[0]), ([[box] for box in boxes], images[1])):
        for name, data, box, image in zip(names, pictures, given, cut.numpy(), strict=True):
            view = to_channels(evaluation_view(decode_picture(data, name), box, crop), channels)
            difference = np.abs(image - view).max()
            if not difference <= GREY_TOLERANCE:
                rule = f"A SavedModel must cut pictures out as predict does, within {GREY_TOLERANCE} grey value."
                raise UserError(rule, f"a difference of {difference:g} in a {name}")
    reader = tf.saved_model.load(str(output)).signatures
    received = [reader["serving_default"](**inputs), reader["with_boxes"](**inputs, boxes=edges)]
    expected = predict_model(model, np.concatenate(images), temperature)
    return {name: (values, np.concatenate([one[name] for one in received])) for name, values in expected.items()}


def sample_pictures(size: tuple[int, int]) -> Iterator[tuple[str, bytes, BoundingBox]]:
    """Yields the name, the bytes and a box of drawn pictures, the same in each call.

    Args:
      size: Height and width of the model's images, pixels.
    """
    rng = np.random.default_rng(0)
    for share_y, share_x in _SIZES:
        height, width = max(round(share_y * size[0]), 8), max(round(share_x * size[1]), 8)
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 4), np.uint8), "RGBA")
        shown = coarse.resize((width, height), Image.Resampling.BICUBIC)
        colours, grey = shown.convert("RGB"), shown.convert("L")
        deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        forms: tuple[tuple[str, Image.Image, str, int], ...] = (
            ("JPEG", colours, "JPEG", 1),
            ("grey JPEG", grey, "JPEG", 1),
            ("turned JPEG", colours, "JPEG", 6),
            ("PNG", colours, "PNG", 1),
            ("grey PNG", grey, "PNG", 1),
            ("16-bit grey PNG", deep, "PNG", 1),
            ("transparent PNG", shown, "PNG", 1),
            ("turned PNG", colours, "PNG", 8),
        )
        for name, picture, form, orientation in forms:
            tags = Image.Exif()
            tags[_ORIENTATION] = orientation
            stream = io.BytesIO()
            picture.save(stream, form, exif=tags, **({"quality": 95} if form == "JPEG" else {}))
            y, x = (height, width) if orientation < 5 else (width, height)
            box = BoundingBox(y // 5, x // 4, y // 5 + y // 2, x // 4 + x // 2)
            yield f"{name} of {height} x {width}", stream.getvalue(), box
