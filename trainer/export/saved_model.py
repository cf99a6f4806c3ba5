"""A SavedModel that takes encoded pictures, for TensorFlow Serving, and the decoding of predictions as a graph."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrecords.images.channels import LUMA_BITS, LUMA_WEIGHTS
from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels
from trainer.export.picture_graph import decode_picture
from trainer.export.resize_graph import resize
from trainer.scoring.decode import ONE_CHARACTER


def write_saved_model(
    model: keras.Model, crop: CropSpec, labels: Labels, output: Path, temperature: float = 1.0
) -> None:
    """Writes a SavedModel whose signatures take encoded pictures.

    Args:
      model: Model trained on images cut out as `crop` says.
      crop: How images are cut out around boxes, as `tfrecords.images.crop` does it.
      labels: Numbers that the model predicts.
      output: Folder to create.
      temperature: Divisor of the logits in the probabilities.
    """
    pictures = tf.TensorSpec((None,), tf.string, name="pictures")
    boxes = tf.TensorSpec((None, 4), tf.float32, name="boxes")
    channels = model.input_shape[-1]

    def without_boxes(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return _predict(model, whole_images(pictures, crop, channels), labels, temperature)

    def with_boxes(pictures: tf.Tensor, boxes: tf.Tensor) -> dict[str, tf.Tensor]:
        return _predict(model, boxed_images(pictures, boxes, crop, channels), labels, temperature)

    signatures = {
        "serving_default": tf.function(without_boxes, autograph=False, input_signature=[pictures]),
        "with_boxes": tf.function(with_boxes, autograph=False, input_signature=[pictures, boxes]),
    }
    save_signatures([model], signatures, output)


def save_signatures(models: Sequence[keras.Model], signatures: dict[str, Any], output: Path) -> None:
    """Writes a SavedModel of functions that call models.

    Keras 3.15's ExportArchive would write every weight twice: `compact` took 4.9 MB instead of 2.7.

    Args:
      models: Models that the functions call.
      signatures: Signature name to `tf.function` with an input signature.
      output: Folder to create.
    """
    module = tf.Module()
    module.weights = [variable.value for model in models for variable in model.variables]
    # Traced here: what TensorFlow traces while it saves is not reused by calls outside (2.21).
    concrete = {name: signature.get_concrete_function() for name, signature in signatures.items()}
    tf.saved_model.save(module, str(output), concrete)


def whole_images(pictures: tf.Tensor, crop: CropSpec, channels: int = 3) -> tf.Tensor:
    """Returns the images of (batch,) encoded pictures, resized as a whole: (batch, height, width, channels) float32.

    Args:
      pictures: Contents of the files.
      crop: How images are cut out of pictures.
      channels: 3, or 1 for grey.
    """

    def image(data: tf.Tensor) -> tf.Tensor:
        return to_channels(resize(decode_picture(data), crop.record_shape), channels)

    return tf.map_fn(image, pictures, fn_output_signature=tf.float32)


def boxed_images(pictures: tf.Tensor, boxes: tf.Tensor, crop: CropSpec, channels: int = 3) -> tf.Tensor:
    """Returns the images around boxes in (batch,) encoded pictures: (batch, height, width, channels) float32.

    Args:
      pictures: Contents of the files.
      boxes: Left, top, width and height of each number in pixels: (batch, 4) float32.
      crop: How images are cut out of pictures.
      channels: 3, or 1 for grey.
    """

    def image(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return to_channels(_cut_out(decode_picture(pair[0]), pair[1], crop), channels)

    return tf.map_fn(image, (pictures, boxes), fn_output_signature=tf.float32)


def image_spec(model: keras.Model) -> tf.TensorSpec:
    """Returns the input `image` of formats without pictures: (batch, height, width, channels) uint8."""
    return tf.TensorSpec(model.input_shape, tf.uint8, name="image")


def most_probable(outputs: dict[str, tf.Tensor], temperature: float = 1.0) -> dict[str, tf.Tensor]:
    """Returns the predictions for a model's outputs: `trainer.scoring.decode.decode_predictions` in TensorFlow.

    Args:
      outputs: `digit_logits` (batch, longest, characters) and, unless the model is of single characters,
        `length_logits` (batch, longest + 2).
      temperature: Divisor of the logits in the probabilities. The number is that of temperature 1, as by
        `trainer.scoring.decode.Predictions.with_temperature`.

    Returns:
      Tensors named, shaped and defined as the attributes of `trainer.scoring.decode.Predictions`.
    """
    digit_log = tf.nn.log_softmax(outputs["digit_logits"])
    if "length_logits" in outputs:
        length_log = tf.nn.log_softmax(outputs["length_logits"])
    else:
        length_log = tf.tile(ONE_CHARACTER[None], [tf.shape(digit_log)[0], 1])
    total = length_log + _counted(digit_log)
    length, digits, best = tf.argmax(total, -1), tf.argmax(digit_log, -1), tf.reduce_max(total, -1)
    if temperature != 1:
        digit_log = tf.nn.log_softmax(digit_log / temperature)
        if "length_logits" in outputs:
            length_log = tf.nn.log_softmax(length_log / temperature)
        best = tf.gather(length_log + _counted(digit_log), length, batch_dims=1)
    return {
        "length": length,
        "confidence": tf.exp(best),
        "digits": digits,
        "length_probabilities": tf.exp(length_log),
        "digit_probabilities": tf.exp(digit_log),
    }


def _counted(digit_log: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the log-probabilities of the best digits of each length: (batch, longest + 2)."""
    sums = tf.pad(tf.cumsum(tf.reduce_max(digit_log, -1), axis=-1), ((0, 0), (1, 0)))
    return tf.concat([sums, sums[:, -1:]], -1)


def crop_edges(boxes: tf.Tensor, size: tf.Tensor, growth: float) -> tf.Tensor:
    """Returns boxes grown around their centres, on whole pixels inside a picture: `tfrecords.images.crop.crop_box`.

    Args:
      boxes: ymin, xmin, ymax, xmax in pixels: (boxes, 4) float32.
      size: Height and width of the picture: (2,) int32.
      growth: Growth, as a fraction of the height and width.

    Returns:
      The same edges of the grown boxes: (boxes, 4) int32.
    """
    start, stop, limit = boxes[:, :2], boxes[:, 2:], tf.cast(size, tf.float32)
    margin = (stop - start) * growth / 2
    grown = tf.maximum(tf.minimum(tf.concat([start - margin, stop + margin], 1), tf.tile(limit, (2,))), 0.0)
    return tf.cast(tf.round(grown), tf.int32)


def _cut_out(picture: tf.Tensor, box: tf.Tensor, crop: CropSpec) -> tf.Tensor:
    """Returns the image around a box: `tfrecords.images.decode.evaluation_view` in TensorFlow.

    The box is grown, clipped to the picture, rounded to integer pixels and resized; the centre of that is the image.
    """
    left, top, width, height = tf.unstack(box)
    edges = crop_edges(tf.stack([[top, left, top + height, left + width]]), tf.shape(picture)[:2], crop.growth)[0]
    part = picture[edges[0] : edges[2], edges[1] : edges[3]]
    y, x = crop.centre
    height, width = crop.record_shape
    return resize(part, crop.crop_shape)[y : y + height, x : x + width]


def to_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Returns (height, width, 3) float32 of integers, or its grey: `tfrecords.images.channels.to_channels`."""
    if channels == 3:
        return image
    sums = tf.reduce_sum(tf.cast(image, tf.int32) * tf.constant(LUMA_WEIGHTS), -1, keepdims=True)
    return tf.cast((sums + (1 << LUMA_BITS - 1)) // (1 << LUMA_BITS), tf.float32)


def _predict(model: keras.Model, images: tf.Tensor, labels: Labels, temperature: float = 1.0) -> dict[str, tf.Tensor]:
    """Returns the predictions for (batch, height, width, channels) images, with each number as text."""
    predictions = most_probable(model(tf.ensure_shape(images, model.input_shape), training=False), temperature)
    return {"number": number_texts(predictions["length"], predictions["digits"], labels), **predictions}


def number_texts(length: tf.Tensor, digits: tf.Tensor, labels: Labels) -> tf.Tensor:
    """Returns numbers as text: (batch,) strings, as by `trainer.scoring.decode.Predictions.texts`.

    Args:
      length: (batch,) int64.
      digits: Indices into the alphabet, (batch, longest) int64.
      labels: Numbers that the model predicts.
    """
    characters = tf.gather(tf.constant(list(labels.alphabet)), digits)
    shown = tf.where(tf.range(labels.max_length, dtype=tf.int64) < length[:, None], characters, "")
    more = tf.where(length > labels.max_length, "…", "")
    return tf.strings.join([tf.strings.reduce_join(shown, -1), more])
