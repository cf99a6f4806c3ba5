"""A SavedModel that takes encoded pictures, for TensorFlow Serving, and the decoding of predictions as a graph."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrecords.images.crop import CropSpec
from tfrecords.record.schema import MAX_LENGTH
from trainer.export.picture_graph import decode_picture
from trainer.export.resize_graph import resize


def write_saved_model(model: keras.Model, crop: CropSpec, output: Path) -> None:
    """Writes a SavedModel whose signatures take encoded pictures.

    Args:
      model: Model trained on images cut out as `crop` says.
      crop: How images are cut out around boxes, as `tfrecords.images.crop` does it.
      output: Folder to create.
    """
    pictures = tf.TensorSpec((None,), tf.string, name="pictures")
    boxes = tf.TensorSpec((None, 4), tf.float32, name="boxes")

    def without_boxes(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return _predict(model, whole_images(pictures, crop), crop.record_size)

    def with_boxes(pictures: tf.Tensor, boxes: tf.Tensor) -> dict[str, tf.Tensor]:
        return _predict(model, boxed_images(pictures, boxes, crop), crop.record_size)

    signatures = {
        "serving_default": tf.function(without_boxes, input_signature=[pictures]),
        "with_boxes": tf.function(with_boxes, input_signature=[pictures, boxes]),
    }
    save_signatures(model, signatures, output)


def save_signatures(model: keras.Model, signatures: dict[str, Any], output: Path) -> None:
    """Writes a SavedModel of functions that call a model.

    Keras 3.15's ExportArchive would write every weight twice: `compact` took 4.9 MB instead of 2.7.

    Args:
      model: Model that the functions call.
      signatures: Signature name to `tf.function`.
      output: Folder to create.
    """
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(output), signatures)


def whole_images(pictures: tf.Tensor, crop: CropSpec) -> tf.Tensor:
    """Returns the images of (batch,) encoded pictures, each resized as a whole: (batch, size, size, 3) float32."""

    def image(data: tf.Tensor) -> tf.Tensor:
        return resize(decode_picture(data), crop.record_size)

    return tf.map_fn(image, pictures, fn_output_signature=tf.float32)


def boxed_images(pictures: tf.Tensor, boxes: tf.Tensor, crop: CropSpec) -> tf.Tensor:
    """Returns the images around (batch, 4) boxes in (batch,) encoded pictures: (batch, size, size, 3) float32."""

    def image(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return _cut_out(decode_picture(pair[0]), pair[1], crop)

    return tf.map_fn(image, (pictures, boxes), fn_output_signature=tf.float32)


def most_probable(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns the predictions for a model's outputs: `trainer.scoring.decode.decode_predictions` in TensorFlow.

    Args:
      outputs: `length_logits` (batch, 7) and `digit_logits` (batch, 5, 10).

    Returns:
      Tensors named, shaped and defined as the attributes of `trainer.scoring.decode.Predictions`.
    """
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


def _cut_out(picture: tf.Tensor, box: tf.Tensor, crop: CropSpec) -> tf.Tensor:
    """Returns the image around a box: `tfrecords.images.decode.evaluation_view` in TensorFlow.

    The box is grown, clipped to the picture, rounded to integer pixels and resized; the centre of that is the image.
    """
    left, top, width, height = tf.unstack(box)
    limit = tf.cast(tf.shape(picture)[:2], tf.float32)
    ymin, ymax = top - height * crop.growth / 2, top + height * (1 + crop.growth / 2)
    xmin, xmax = left - width * crop.growth / 2, left + width * (1 + crop.growth / 2)
    edges = tf.stack([ymin, xmin, ymax, xmax])
    edges = tf.cast(tf.round(tf.clip_by_value(edges, 0.0, tf.concat([limit, limit], 0))), tf.int32)
    part = picture[edges[0] : edges[2], edges[1] : edges[3]]
    y, x = crop.centre
    return resize(part, crop.crop_size)[y : y + crop.record_size, x : x + crop.record_size]


def _predict(model: keras.Model, images: tf.Tensor, size: int) -> dict[str, tf.Tensor]:
    """Returns the predictions for (batch, size, size, 3) images, with each number as text."""
    predictions = most_probable(model(tf.ensure_shape(images, (None, size, size, 3)), training=False))
    length, digits = predictions["length"], predictions["digits"]
    shown = tf.where(tf.range(MAX_LENGTH, dtype=tf.int64) < length[:, None], tf.strings.as_string(digits), "")
    more = tf.where(length > MAX_LENGTH, "…", "")
    return {"number": tf.strings.join([tf.strings.reduce_join(shown, -1), more]), **predictions}
