"""A SavedModel that takes encoded pictures, for TensorFlow Serving, and the most probable number as a graph."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrecords.images.crop import CropSpec
from tfrecords.record.schema import MAX_LENGTH


def write_saved_model(model: keras.Model, crop: CropSpec, output: Path) -> None:
    """Writes a SavedModel whose signatures take encoded pictures.

    Args:
      model: trained on pictures cut as `crop` says.
      crop: how pictures are cut around boxes, as `tfrecords.images.crop` does.
      output: folder to make.
    """
    pictures = tf.TensorSpec((None,), tf.string, name="pictures")
    boxes = tf.TensorSpec((None, 4), tf.float32, name="boxes")

    def whole(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        views = tf.map_fn(
            lambda data: _resize(_decode(data), crop.record_size), pictures, fn_output_signature=tf.float32
        )
        return _read(model, views, crop.record_size)

    def with_boxes(pictures: tf.Tensor, boxes: tf.Tensor) -> dict[str, tf.Tensor]:
        views = tf.map_fn(lambda pair: _view(pair[0], pair[1], crop), (pictures, boxes), fn_output_signature=tf.float32)
        return _read(model, views, crop.record_size)

    signatures = {
        "serving_default": tf.function(whole, input_signature=[pictures]),
        "with_boxes": tf.function(with_boxes, input_signature=[pictures, boxes]),
    }
    save_signatures(model, signatures, output)


def save_signatures(model: keras.Model, signatures: dict[str, Any], output: Path) -> None:
    """Writes a SavedModel of functions that call a model.

    Keras 3.15's ExportArchive would write every weight twice: `compact` took 4.9 MB instead of 2.7.
    """
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(output), signatures)


def ask_saved_model(path: Path, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a SavedModel's answers to (batch, record_size, record_size, 3) uint8 pictures."""
    encoded = tf.stack([tf.io.encode_png(picture) for picture in pictures])
    answers = tf.saved_model.load(str(path)).signatures["serving_default"](pictures=encoded)
    return {name: value.numpy() for name, value in answers.items()}


def most_probable(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`decode_numbers` in TensorFlow: a model's outputs to what is named there, without texts."""
    length_log = tf.nn.log_softmax(outputs["length_logits"])
    digit_log = tf.nn.log_softmax(outputs["digit_logits"])
    sums = tf.pad(tf.cumsum(tf.reduce_max(digit_log, -1), axis=-1), ((0, 0), (1, 0)))
    total = length_log + tf.concat([sums, sums[:, -1:]], -1)
    return {
        "length": tf.argmax(total, -1),
        "confidence": tf.exp(tf.reduce_max(total, -1)),
        "digits": tf.argmax(digit_log, -1),
        "length_probabilities": tf.exp(length_log),
        "digit_probabilities": tf.exp(digit_log),
    }


def _decode(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _resize(picture: tf.Tensor, size: int) -> tf.Tensor:
    # Rounded, because records hold whole grey values.
    return tf.round(tf.image.resize(picture, (size, size), antialias=True))


def _view(data: tf.Tensor, box: tf.Tensor, crop: CropSpec) -> tf.Tensor:
    """`tfrecords.images.crop.evaluation_view` in TensorFlow: box grown, clipped, on whole pixels, resized, centre."""
    picture = _decode(data)
    left, top, width, height = tf.unstack(box)
    limit = tf.cast(tf.shape(picture)[:2], tf.float32)
    ymin, ymax = top - height * crop.growth / 2, top + height * (1 + crop.growth / 2)
    xmin, xmax = left - width * crop.growth / 2, left + width * (1 + crop.growth / 2)
    edges = tf.stack([ymin, xmin, ymax, xmax])
    edges = tf.cast(tf.round(tf.clip_by_value(edges, 0.0, tf.concat([limit, limit], 0))), tf.int32)
    part = picture[edges[0] : edges[2], edges[1] : edges[3]]
    y, x = crop.centre
    return _resize(part, crop.crop_size)[y : y + crop.record_size, x : x + crop.record_size]


def _read(model: keras.Model, views: tf.Tensor, size: int) -> dict[str, tf.Tensor]:
    """The answers to (batch, size, size, 3) pictures, and each number as text."""
    answers = most_probable(model(tf.ensure_shape(views, (None, size, size, 3)), training=False))
    length, digits = answers["length"], answers["digits"]
    shown = tf.where(tf.range(MAX_LENGTH, dtype=tf.int64) < length[:, None], tf.strings.as_string(digits), "")
    more = tf.where(length > MAX_LENGTH, "…", "")
    return {"number": tf.strings.join([tf.strings.reduce_join(shown, -1), more]), **answers}
