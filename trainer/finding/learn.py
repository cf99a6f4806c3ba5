"""The part of a training step that a model that finds numbers has of its own."""

import keras
import tensorflow as tf

from trainer.finding.augment import augment_pictures
from trainer.finding.losses import finding_loss, found_pictures
from trainer.finding.targets import make_targets
from trainer.run.config import AugmentConfig

Labels = tuple[tf.Tensor, ...]


def prepare_finding(
    batch: dict[str, tf.Tensor], size: tuple[int, int], config: AugmentConfig
) -> tuple[tf.Tensor, Labels]:
    """Returns augmented pictures, and their boxes with the flags of `trainer.finding.augment.Pictures`."""
    images, *labels = augment_pictures(batch, size, config)
    return images, tuple(labels)


def learn_finding(
    model: keras.Model,
    smoothing: float,
    images: tf.Tensor,
    boxes: tf.Tensor,
    is_number: tf.Tensor,
    is_ignored: tf.Tensor,
    divisor: tf.Tensor,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns the gradients of the summed loss over `divisor`, and two sums: of losses, and of pictures found right.

    There may be more images than labels; their outputs do not count.

    Args:
      model: Model that is trained.
      smoothing: Label smoothing, which this loss does not have.
      images: (images, height, width, channels) float32.
      boxes: Boxes as of `trainer.finding.augment.Pictures`.
      is_number: Whether a box is of a number to find.
      is_ignored: Whether a box is of a number that does not count.
      divisor: Divisor of the summed loss.
    """
    del smoothing
    stride = stride_of(model)
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        outputs = {name: tf.cast(value, tf.float32)[: tf.shape(boxes)[0]] for name, value in outputs.items()}
        size = model.output["heat_logits"].shape[1:3]
        targets = make_targets(boxes, is_number, is_ignored, size, stride)
        loss = tf.reduce_sum(finding_loss(outputs, targets, stride))
        mean = loss / divisor
    gradients = tape.gradient(mean, model.trainable_variables)
    right = found_pictures(outputs, boxes, is_number, stride)
    return gradients, tf.stack([loss, tf.reduce_sum(tf.cast(right, tf.float32))])


def finds(model: keras.Model) -> bool:
    """Returns whether a model finds numbers in pictures; otherwise it reads the number in an image."""
    return "heat_logits" in model.output


def stride_of(model: keras.Model) -> int:
    """Returns the pixels per place of a model's outputs."""
    side: int = model.input_shape[1]
    places: int = model.output["heat_logits"].shape[1]
    return round(side / places)
