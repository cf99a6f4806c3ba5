"""The numbers in a photo as a graph: `trainer.photo_reader.PhotoReader` in TensorFlow, from pixels to numbers.

It is made of operations that LiteRT and ONNX Runtime have too: no float64, strings or lists of tensors. Boxes are
float32, in which one that ends within 0.0001 of half a pixel may be cut a pixel larger or smaller than in Python.
"""

import math
from dataclasses import dataclass
from typing import cast

import keras
import tensorflow as tf

from tfrecords.images.crop import CropSpec
from trainer.export.part_graph import Part, cut_part
from trainer.export.saved_model import crop_edges, most_probable, to_channels
from trainer.finding.boxes import PART, SAME_IOU
from trainer.finding.decode import peaks
from trainer.finding.finder import Finder
from trainer.finding.learn import stride_of
from trainer.lite.convert import Forward
from trainer.photo_reader import GROWTHS, LEAST_SCORE, MOST_NUMBERS, PhotoReader

Outputs = dict[str, tf.Tensor]


@dataclass(frozen=True)
class PhotoModels:
    """What reads photos, as its graph needs it.

    Attributes:
      find: Finder's function.
      read: Reader's function.
      canvas: Height and width of the finder's images, pixels.
      find_channels: Channels of the finder's images: 3, or 1 for grey.
      read_channels: Channels of the reader's images.
      stride: Pixels per place of the finder's outputs.
      crop: How the reader's images are cut out around boxes.
      longest: Longest length that the reader predicts.
      candidates: Confidence of the finder from which a place is read.
      least: Confidence of the finder from which a place counts next to a surer number.
      temperature: Divisor of the reader's logits in the probabilities.
    """

    find: Forward
    read: Forward
    canvas: int
    find_channels: int
    read_channels: int
    stride: int
    crop: CropSpec
    longest: int
    candidates: float
    least: float
    temperature: float


def photo_models(photo_reader: PhotoReader, find: Forward | None = None, read: Forward | None = None) -> PhotoModels:
    """Returns what reads photos as a finder and a reader together do.

    Args:
      photo_reader: Finder, of a run, and reader.
      find: Function to call in place of the finder's model.
      read: Function to call in place of the reader's model.
    """
    finder, reader = finder_of(photo_reader), photo_reader.reader
    return PhotoModels(
        find=find or _forward(finder.model),
        read=read or _forward(reader.model),
        canvas=finder.canvas,
        find_channels=finder.run.image_shape[2],
        read_channels=reader.run.image_shape[2],
        stride=stride_of(finder.model),
        crop=reader.run.crop,
        longest=reader.run.labels.max_length,
        candidates=finder.threshold,
        least=photo_reader.least,
        temperature=reader.calibration.temperature if reader.calibration else 1.0,
    )


def finder_of(photo_reader: PhotoReader) -> Finder:
    """Returns the finder of a photo reader that `PhotoReader.load` made."""
    return cast(Finder, photo_reader.finder)


def _forward(model: keras.Model) -> Forward:
    return lambda images: model(images, training=False)


def read_photo(picture: tf.Tensor, models: PhotoModels) -> Outputs:
    """Returns the numbers in a photo, the most confident first: `PhotoReader.read`, upright.

    Args:
      picture: Pixels, (height, width, 3) uint8 RGB.
      models: What reads it.

    Returns:
      `count`, int64, and by name the rows of `MOST_NUMBERS` numbers, 0 from `count` on: `boxes` (numbers, 4) float32,
      left, top, width and height in pixels of the photo; `box_confidence` (numbers,) float32; `length` (numbers,) and
      `digits` (numbers, longest) int64, and `confidence` (numbers,) float32, as by `most_probable`. A photo that was
      read as a whole has its own size as the box, and the box confidence 1.
    """
    height, width = tf.unstack(tf.shape(picture)[:2])
    boxes, sureness = find_places(picture, models)
    edges = crop_edges(_grown(boxes), tf.shape(picture)[:2], models.crop.growth)
    whole = tf.stack([0, 0, height, width])[tf.newaxis]
    # As often as a place has views, so that one shape serves both.
    whole_views = tf.tile(whole, (len(GROWTHS), 1))

    def try_again(attempt: tf.Tensor, *found: tf.Tensor) -> tf.Tensor:
        return (attempt < 2) & (tf.shape(found[0])[0] == 0)

    def attempt_to_read(attempt: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor]:
        places, confidence, parts = tf.cond(
            attempt == 0,
            lambda: (boxes, sureness, _window_parts(edges, models.crop.crop_shape, models.crop.centre)),
            lambda: (
                tf.cast(whole, tf.float32),
                tf.ones(1),
                _window_parts(whole_views, models.crop.record_shape, (0, 0)),
            ),
        )
        images = _images(picture, parts, models)
        predictions = most_probable(_mean_of_views(models.read(images)), models.temperature)
        return [attempt + 1, *_numbers(predictions, places, confidence, models)]

    # A loop, so that the reader's operations are in the graph once: over the places, then over the complete photo.
    shapes = [(None, 4), (None,), (None,), (None, models.longest), (None,)]
    kinds = (tf.float32, tf.float32, tf.int64, tf.int64, tf.float32)
    nothing = [tf.zeros([side or 0 for side in shape], kind) for shape, kind in zip(shapes, kinds, strict=True)]
    first = tf.cast(tf.shape(boxes)[0] == 0, tf.int32)
    invariants = [tf.TensorShape(()), *map(tf.TensorShape, shapes)]
    _, *found = tf.while_loop(try_again, attempt_to_read, [first, *nothing], invariants)
    names = ("boxes", "box_confidence", "length", "digits", "confidence")
    missing = MOST_NUMBERS - tf.shape(found[0])[0]
    padded = {
        name: tf.reshape(tf.pad(value, [[0, missing], *[[0, 0]] * (len(shape) - 1)]), (MOST_NUMBERS, *shape[1:]))
        for name, value, shape in zip(names, found, shapes, strict=True)
    }
    ymin, xmin, ymax, xmax = tf.unstack(padded["boxes"], axis=1)
    padded["boxes"] = tf.stack([xmin, ymin, xmax - xmin, ymax - ymin], 1)
    return {**padded, "count": tf.cast(tf.shape(found[0])[0], tf.int64)}


def _grown(boxes: tf.Tensor) -> tf.Tensor:
    """Returns each of (boxes, 4) boxes with each of `GROWTHS`, those of a box one after the other."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    factors = 1 + tf.constant(GROWTHS, tf.float32)[:, tf.newaxis]
    middle, half = middle[:, tf.newaxis], half[:, tf.newaxis] * factors
    return tf.reshape(tf.concat([middle - half, middle + half], -1), (-1, 4))


def _mean_of_views(outputs: Outputs) -> Outputs:
    """Returns `trainer.scoring.decode.mean_of_views` of each output of the reader."""
    means = {}
    for name, logits in outputs.items():
        logs = tf.nn.log_softmax(logits)
        logs = tf.reshape(logs, (-1, len(GROWTHS), *logits.shape[1:]))
        means[name] = tf.reduce_logsumexp(logs, 1) - math.log(len(GROWTHS))
    return means


def find_places(picture: tf.Tensor, models: PhotoModels) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the places in a photo that are read: `Finder.find`, and of that what `PhotoReader` reads.

    Returns:
      Boxes (places, 4), ymin, xmin, ymax, xmax in pixels of the photo, and confidences (places,), both float32; at most
      `MOST_NUMBERS`, the most confident first.
    """
    size = tf.shape(picture)[:2]
    longest = tf.maximum(tf.reduce_max(size), 1)
    content = tf.maximum((2 * size * models.canvas + longest) // (2 * longest), 1)
    zero = tf.constant(0)
    part = Part(zero, zero, size[0], size[1], content[0], content[1], zero, zero)
    seen = tf.cast(to_channels(tf.cast(picture, tf.float32), models.find_channels), tf.uint8)
    image = cut_part(seen, part, (models.canvas, models.canvas))
    boxes, confidence = (part[0] for part in peaks(models.find(image[tf.newaxis]), models.stride))
    boxes = _clip(boxes, content)
    is_valid = (confidence >= models.candidates) & tf.reduce_all(boxes[:, 2:] > boxes[:, :2], -1)
    boxes /= tf.tile(tf.cast(content, tf.float32) / tf.cast(size, tf.float32), (2,))
    pixels = tf.round(_clip(boxes, size))
    is_read = _select(boxes, is_valid) & tf.reduce_all(pixels[:, 2:] - pixels[:, :2] >= 1, -1)
    taken = tf.where(is_read)[:MOST_NUMBERS, 0]
    return tf.gather(boxes, taken), tf.gather(confidence, taken)


def _clip(boxes: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the parts of (boxes, 4) boxes inside a picture of a height and width: `BoundingBox.clip`."""
    limit = tf.cast(size, tf.float32)
    return tf.concat([tf.maximum(boxes[:, :2], 0.0), tf.minimum(boxes[:, 2:], limit)], 1)


def _select(boxes: tf.Tensor, is_valid: tf.Tensor) -> tf.Tensor:
    """Returns which boxes are kept, each number once: `trainer.finding.boxes.select`.

    Args:
      boxes: (peaks, 4), the most confident first.
      is_valid: Whether a box counts at all: (peaks,) boolean.
    """
    start = tf.maximum(boxes[:, tf.newaxis, :2], boxes[:, :2])
    stop = tf.minimum(boxes[:, tf.newaxis, 2:], boxes[:, 2:])
    shared = tf.reduce_prod(tf.maximum(stop - start, 0.0), -1)
    area = tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], -1)
    union = area[:, tf.newaxis] + area - shared
    smaller = tf.minimum(area[:, tf.newaxis], area)
    index = tf.range(boxes.shape[0])
    is_same = ((shared >= SAME_IOU * union) | (shared >= PART * smaller)) & (index < index[:, tf.newaxis])
    kept = is_valid
    # After n rounds the first n boxes are right.
    for _ in range(boxes.shape[0]):
        kept = is_valid & ~tf.reduce_any(is_same & kept, -1)
    return kept


def _window_parts(edges: tf.Tensor, shape: tuple[int, int], corner: tuple[int, int]) -> tf.Tensor:
    """Returns the fields of `Part` of windows in resized parts: (parts, 8) int32.

    Args:
      edges: (parts, 4) int32 of ymin, xmin, ymax, xmax.
      shape: Height and width to which the parts are resized.
      corner: Row and column of the window in a resized part.
    """
    return tf.concat([edges, tf.tile([[*shape, *corner]], (tf.shape(edges)[0], 1))], 1)


def _images(picture: tf.Tensor, parts: tf.Tensor, models: PhotoModels) -> tf.Tensor:
    """Returns the reader's images of parts of a photo: (parts, height, width, channels) float32."""
    shape = (*models.crop.record_shape, models.read_channels)

    def add(index: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = cut_part(picture, Part(*tf.unstack(parts[index])), models.crop.record_shape)
        return index + 1, tf.concat([images, to_channels(image, models.read_channels)[tf.newaxis]], 0)

    # Not tf.map_fn, whose lists LiteRT has not.
    state = [tf.constant(0), tf.zeros((0, *shape))]
    invariants = [tf.TensorShape(()), tf.TensorShape((None, *shape))]
    return tf.while_loop(lambda index, _: index < tf.shape(parts)[0], add, state, invariants)[1]


def _numbers(
    predictions: Outputs, places: tf.Tensor, box_confidence: tf.Tensor, models: PhotoModels
) -> list[tf.Tensor]:
    """Returns the numbers at some places, the most confident first, without those that the reader takes for none.

    Args:
      predictions: Predictions of the reader at the places.
      places: Boxes, (places, 4).
      box_confidence: Confidences of the finder, (places,).
      models: What reads the photo.

    Returns:
      Boxes, box confidences, lengths, digits and confidences, with a row for each number.
    """
    length, digits, confidence = (predictions[name] for name in ("length", "digits", "confidence"))
    score = confidence * box_confidence
    score = tf.where((length > 0) & (score >= LEAST_SCORE), score, -1.0)
    order = tf.math.top_k(score, tf.shape(score)[0]).indices
    counts = tf.gather(score, order) >= 0
    is_surest = tf.range(tf.shape(score)[0]) == 0
    counts &= is_surest | (tf.gather(box_confidence, order) >= models.least)
    kept = tf.gather(order, tf.where(counts)[:, 0])
    return [tf.gather(value, kept) for value in (places, box_confidence, length, digits, confidence)]
