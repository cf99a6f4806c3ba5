"""Augmentation of pictures: boxes follow the pixels, and what is cut off is ignored."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.finding.augment import augment_pictures, make_warp, plain_pictures
from trainer.input.augment import uniforms_needed
from trainer.run.config import AugmentConfig

SIZE = (64, 80)
PLAIN: dict[str, Any] = {"contrast": 0, "brightness": 0, "invert": 0}


def _batch(boxes: list[list[float]], uniform: np.ndarray, content: tuple[int, int] = SIZE) -> dict[str, tf.Tensor]:
    """Returns a batch of one picture, grey 50 with boxes of white."""
    image = np.zeros((1, *SIZE, 3), np.uint8)
    image[0, : content[0], : content[1]] = 50
    padded = np.zeros((1, 4, 4), np.float32)
    for row, (top, left, bottom, right) in zip(padded[0], boxes, strict=False):
        row[:] = top, left, bottom, right
        image[0, int(top) : int(bottom), int(left) : int(right)] = 255
    return {
        "image": tf.constant(image),
        "boxes": tf.constant(padded),
        "length": tf.constant([len(boxes)], tf.int64),
        "content": tf.constant([content], tf.int64),
        "uniform": tf.constant(uniform[None].astype(np.float32)),
    }


@pytest.mark.parametrize("seed", range(6))
def test_boxes_stay_around_the_pixels_of_their_number(seed: int) -> None:
    uniform = np.random.default_rng(seed).random(uniforms_needed(3))
    config = AugmentConfig(zoom=0.3, stretch=0.2, translate=0.05, **PLAIN)
    pictures = augment_pictures(_batch([[24, 30, 40, 54]], uniform), SIZE, config)
    rows, columns = np.nonzero(pictures.images.numpy()[0, ..., 0] > 152)
    seen = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    np.testing.assert_allclose(pictures.boxes.numpy()[0, 0], seen, atol=1.0)
    assert pictures.is_number.numpy().tolist() == [[True, False, False, False]]


def test_a_turned_number_has_the_upright_box_around_it() -> None:
    uniform = np.full(uniforms_needed(3), 0.5)
    uniform[4] = 1
    pictures = augment_pictures(_batch([[28, 20, 36, 60]], uniform), SIZE, AugmentConfig(rotate=20, **PLAIN))
    rows, columns = np.nonzero(pictures.images.numpy()[0, ..., 0] > 152)
    seen = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    np.testing.assert_allclose(pictures.boxes.numpy()[0, 0], seen, atol=1.0)


def test_around_the_picture_stays_0_whatever_becomes_of_its_colours() -> None:
    uniform = np.full(uniforms_needed(3), 0.5)
    uniform[2], uniform[6], uniform[-3:] = 0.1, 0, 1
    batch = _batch([[10, 10, 20, 30]], uniform, (40, 80))
    images = augment_pictures(batch, SIZE, AugmentConfig(zoom=0.6, invert=1, brightness=30)).images.numpy()[0]
    inside = images[..., 0] != 0
    rows, columns = np.nonzero(inside)
    assert rows.min() > 0 and rows.max() < 39 and columns.min() > 0
    assert inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert images[rows.min() + 2, columns.min() + 2, 0] == pytest.approx(255 - 50 + 30, abs=40)


def test_a_picture_in_a_small_part_of_the_image_is_zoomed_and_shifted_about_its_own_centre() -> None:
    uniform = np.full(uniforms_needed(3), 0.5)
    uniform[2] = 1
    batch = _batch([[4, 30, 16, 50]], uniform, (20, 80))
    larger = augment_pictures(batch, SIZE, AugmentConfig(zoom=0.5, **PLAIN)).boxes.numpy()[0, 0]
    np.testing.assert_allclose(larger, [10 - 9, 40 - 15, 10 + 9, 40 + 15], atol=0.01)
    uniform[:3] = 0, 0.5, 0.5
    batch = _batch([[4, 30, 16, 50]], uniform, (20, 80))
    shifted = augment_pictures(batch, SIZE, AugmentConfig(translate=0.1, **PLAIN)).boxes.numpy()[0, 0]
    np.testing.assert_allclose(shifted, [4 + 2, 30, 16 + 2, 50], atol=0.01)


def test_without_changes_pictures_are_those_of_validation() -> None:
    batch = _batch([[10, 10, 20, 30], [0, 70, 12, 80]], np.full(uniforms_needed(3), 0.5))
    changed, plain = augment_pictures(batch, SIZE, AugmentConfig(**PLAIN)), plain_pictures(batch, SIZE)
    for one, other in zip(changed, plain, strict=True):
        np.testing.assert_allclose(one.numpy().astype(float), other.numpy().astype(float), atol=1e-3)
    np.testing.assert_allclose(
        make_warp(batch["uniform"][:, :6], batch["content"], AugmentConfig()), [[1, 0, 0, 0, 1, 0]], atol=1e-5
    )


def test_numbers_that_are_cut_off_or_tiny_are_ignored_and_others_are_clipped() -> None:
    batch = _batch([], np.zeros(uniforms_needed(3)))
    boxes = np.array([[[-2, 10, 10, 30], [10, 70, 20, 100], [5, 5, 9, 40], [-30, -30, -10, -10]]], np.float32)
    batch = {**batch, "boxes": tf.constant(boxes), "length": tf.constant([4], tf.int64)}
    pictures = plain_pictures(batch, SIZE)
    assert pictures.is_number.numpy().tolist() == [[True, False, False, False]]
    assert pictures.is_ignored.numpy().tolist() == [[False, True, True, True]]
    assert pictures.boxes.numpy()[0, 0].tolist() == [0, 10, 10, 30]
