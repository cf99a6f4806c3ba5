"""A model that finds numbers over a split: the boxes of every picture, next to those of its numbers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tfrecords.images.crop import BoundingBox
from trainer.finding.augment import plain_pictures
from trainer.finding.boxes import Found, select
from trainer.finding.decode import peaks
from trainer.finding.learn import stride_of
from trainer.finding.losses import finding_loss
from trainer.finding.scores import LEAST_CONFIDENCE
from trainer.finding.targets import make_targets


@dataclass(frozen=True)
class SplitFound:
    """What a model finds in the pictures of a split, in stored order.

    Attributes:
      keys: Keys of the pictures.
      found: Boxes of each picture from `LEAST_CONFIDENCE` on, pixels of the image, the most confident first.
      truth: Boxes of the numbers of each picture, pixels of the image.
      scales: Pixels of the image per pixel of the source picture, down and right.
      loss: Mean loss of a picture.
    """

    keys: list[str]
    found: list[list[Found]]
    truth: list[list[BoundingBox]]
    scales: list[tuple[float, float]]
    loss: float


Finding = Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
"""Function of a batch that returns boxes and probabilities of peaks, and the loss of each picture."""


def make_peaks(model: keras.Model) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns a function from (batch, height, width, channels) uint8 images to what `peaks` returns.

    Make it once per model, since TensorFlow traces each one.
    """
    stride = stride_of(model)

    def find(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return peaks(model(tf.cast(images, tf.float32), training=False), stride)

    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    traced: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    traced = tf.function(find, autograph=False, input_signature=[spec])
    return traced


def make_finding(model: keras.Model) -> Finding:
    """Returns a function from a batch of scenes to the model's peaks and the loss of each picture.

    Make it once per model, since TensorFlow traces each one.
    """
    stride, size = stride_of(model), model.input_shape[1:3]
    places = model.output["heat_logits"].shape[1:3]

    def find(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images, boxes, is_number, is_ignored = plain_pictures(batch, size)
        outputs = model(images, training=False)
        targets = make_targets(boxes, is_number, is_ignored, places, stride)
        return *peaks(outputs, stride), finding_loss(outputs, targets, stride)

    # The short last batch has another shape.
    traced: Finding = tf.function(find, autograph=False, reduce_retracing=True)
    return traced


def find_split(find: Finding, batches: Iterable[dict[str, tf.Tensor]]) -> SplitFound:
    """Returns what a model finds in each picture of a split.

    Args:
      find: Function of `make_finding`.
      batches: Batches of `split_dataset` of scenes, each picture once.
    """
    keys: list[str] = []
    found: list[list[Found]] = []
    truth: list[list[BoundingBox]] = []
    scales: list[tuple[float, float]] = []
    losses = []
    for batch in batches:
        names = ("image", "boxes", "length", "content")
        boxes, confidence, loss = (part.numpy() for part in find({name: batch[name] for name in names}))
        content = batch["content"].numpy().tolist()
        for each, probability, size in zip(boxes, confidence, content, strict=True):
            found.append(select(each, probability, tuple(size), LEAST_CONFIDENCE))
        for edges, count in zip(batch["boxes"].numpy(), batch["length"].numpy(), strict=True):
            truth.append([BoundingBox(*box) for box in edges[:count].tolist()])
        scales.extend(map(tuple, (batch["content"].numpy() / batch["source"].numpy()).tolist()))
        keys.extend(key.decode() for key in batch["key"].numpy())
        losses.append(loss)
    return SplitFound(keys, found, truth, scales, float(np.mean(np.concatenate(losses))))
