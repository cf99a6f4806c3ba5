"""The pictures of a split with the boxes of their numbers, for models that find numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfrecords.dataset.image_cache import ImageCache
from tfrecords.dataset.manifest import ShardInfo
from tfrecords.dataset.reader import Examples
from tfrecords.errors import UserError
from tfrecords.record.scene import SceneExample, decode_scene

MOST_NUMBERS = 16
"""Boxes per picture that a batch has room for."""


class Scenes(NamedTuple):
    """Pictures with the boxes of their numbers.

    Attributes:
      images: (pictures, height, width, channels) uint8.
      length: Number of numbers: (pictures,) int64.
      boxes: ymin, xmin, ymax, xmax in pixels of the image, padded with 0: (pictures, `MOST_NUMBERS`, 4) float32.
      content: Height and width of the picture in the image's upper left corner, pixels: (pictures, 2) int64.
      source: Height and width of the source picture, pixels: (pictures, 2) int64.
      keys: Keys: (pictures,) object, UTF-8 bytes.
    """

    images: NDArray[np.uint8]
    length: NDArray[np.int64]
    boxes: NDArray[np.float32]
    content: NDArray[np.int64]
    source: NDArray[np.int64]
    keys: NDArray[np.object_]


class SceneImages:
    """The pictures of one split and the boxes of their numbers, with random access. Nothing is kept of them.

    Attributes:
      shards: Shards of the split.
      shape: Height, width and channels of the images.
    """

    def __init__(self, examples: Examples) -> None:
        """Opens a split.

        Args:
          examples: Examples of the split.

        Raises:
          UserError: There are none, or they differ in size.
        """
        self._lay_out(examples)

    def _lay_out(self, examples: Examples) -> None:
        """Takes the examples of a split.

        Raises:
          UserError: There are none, or they differ in size; then nothing has changed.
        """
        if not len(examples):
            raise UserError(f"The split {examples.split} of {examples.directory} must hold at least one example.", 0)
        height, width, channels = examples.manifest.image.shape
        if height is None or width is None:
            rule = f"The manifest of {examples.directory} must state one size of all pictures."
            raise UserError(rule, examples.manifest.image.shape)
        self._examples = examples
        self.shards: tuple[ShardInfo, ...] = tuple(examples.manifest.split(examples.split).shards)
        self.shape: tuple[int, ...] = height, width, channels
        self._alphabet = examples.manifest.labels.alphabet

    def __len__(self) -> int:
        return sum(shard.examples for shard in self.shards)

    def take(self, indices: NDArray[np.int64]) -> Scenes:
        """Returns pictures with their boxes.

        Args:
          indices: Indices in the split, in the order of the result: (pictures,) int64.

        Raises:
          UserError: A shard is missing, a record is damaged, its image has another size, or it has too many numbers.
        """
        found = [self._scene(index) for index in indices.tolist()]
        boxes = np.zeros((len(found), MOST_NUMBERS, 4), np.float32)
        for row, scene in zip(boxes, found, strict=True):
            row[: len(scene.boxes)] = scene.boxes
        images = np.empty((len(found), *self.shape), np.uint8)
        for image, scene in zip(images, found, strict=True):
            image[:] = scene.image
        keys = np.empty(len(found), object)
        keys[:] = [scene.key.encode() for scene in found]
        length = np.array([len(scene.boxes) for scene in found], np.int64)
        content, source = (
            np.array([getattr(scene, name) for scene in found], np.int64).reshape(-1, 2)
            for name in ("content_size", "source_size")
        )
        return Scenes(images, length, boxes, content, source, keys)

    def start_epoch(self) -> None:
        """Marks a new epoch; nothing is read ahead."""

    def move_to(self, examples: Examples) -> None:
        """Moves to another state of the directory; files that both have stay open.

        No other thread may use the pictures: call it between two passes.

        Args:
          examples: Examples of the split in the other state.

        Raises:
          UserError: There are none; then nothing has changed.
        """
        before = self._examples
        self._lay_out(examples)
        examples.take_over(before)

    def _scene(self, index: int) -> SceneExample:
        data, file, in_file = self._examples.record(index)
        where = file.location(in_file)
        scene = decode_scene(data, where, self._alphabet)
        if scene.image.shape != self.shape:
            rule = f"{where} ({scene.key}): image must have the shape of the dataset, {self.shape}."
            raise UserError(rule, scene.image.shape)
        if len(scene.boxes) > MOST_NUMBERS:
            rule = f"{where} ({scene.key}): a picture must have at most {MOST_NUMBERS} numbers."
            raise UserError(rule, len(scene.boxes))
        return scene


Images = ImageCache | SceneImages
"""The images of a split, whatever it teaches."""
