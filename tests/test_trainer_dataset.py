"""Shards to batches, and what is done to pictures on the device."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import tfrecords
from tests.examples import make_example
from tfrecords.errors import UserError
from trainer.augment import augment, centre_window, numbers_needed, random_window, recolour
from trainer.config import AugmentConfig, TrainConfig
from trainer.dataset import split_dataset, training_dataset

STILL = AugmentConfig(gain=0.0, shift=0.0, invert=0.0)


def _keys(batches: tf.data.Dataset) -> list[str]:
    return [key.decode() for batch in batches for key in batch["key"].numpy()]


def test_batches_hold_the_records_in_stored_order_each_once(records: Path) -> None:
    batches = list(split_dataset(records, "test", batch_size=7))
    assert [len(batch["length"]) for batch in batches] == [7, 7, 6]
    examples = list(tfrecords.open(records, "test"))
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, [example.image for example in examples])
    assert _keys(batches) == [example.key for example in examples]
    np.testing.assert_array_equal(
        np.concatenate([batch["digits"].numpy() for batch in batches]), [example.digits for example in examples]
    )


def test_an_epoch_holds_every_training_record_once_in_an_order_of_its_own(records: Path) -> None:
    stored = [example.key for example in tfrecords.open(records, "train")]
    config = TrainConfig(global_batch_size=32)
    first, again, second = (_keys(training_dataset(records, config, epoch)) for epoch in (0, 0, 1))
    assert first == again
    assert first != second != stored
    assert sorted(first) == sorted(second) == sorted(stored)


def test_the_augmentation_s_numbers_are_of_epoch_and_step_alone(records: Path) -> None:
    config = TrainConfig(global_batch_size=32)
    first, again, second = (
        np.concatenate([batch["uniform"].numpy() for batch in training_dataset(records, config, epoch)])
        for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (len(tfrecords.open(records, "train")), numbers_needed(3))
    assert (first != second).all() and 0 <= first.min() < first.max() < 1
    assert len(np.unique(first[:, 0])) > 0.95 * len(first)


def test_an_empty_split_is_refused(records: Path) -> None:
    with pytest.raises(UserError, match="has the splits"):
        split_dataset(records, "extra", 8)


def test_windows_are_taken_at_every_place_and_nowhere_else() -> None:
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    places = np.array([[0.0, 0.999], [0.5, 0.34]], np.float32)
    windows = random_window(tf.constant(images), 6, tf.constant(places)).numpy()
    np.testing.assert_array_equal(windows[0], images[0, 0:6, 2:8])
    np.testing.assert_array_equal(windows[1], images[1, 1:7, 1:7])


def test_the_centre_is_that_of_the_stored_crops() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(centre_window(tf.constant(images), 54)[0], images[0, 5:59, 5:59])


def test_without_augmentation_the_pictures_stay_as_they_are() -> None:
    image = make_example(size=54).image[None]
    uniform = np.random.default_rng(0).random((1, numbers_needed(3)), np.float32)
    np.testing.assert_allclose(augment(tf.constant(image), 54, STILL, tf.constant(uniform)), image, atol=1e-3)


def test_inverted_pictures_are_255_minus_themselves() -> None:
    images = tf.constant(np.random.default_rng(0).random((4, 5, 5, 3), np.float32) * 255)
    uniform = tf.constant(np.full((4, numbers_needed(3) - 2), 0.5, np.float32))
    changed = recolour(images, AugmentConfig(gain=0.0, shift=0.0, invert=1.0), uniform)
    np.testing.assert_allclose(changed, 255 - images, atol=1e-3)


def test_contrast_and_brightness_stay_within_what_was_asked_for() -> None:
    images = np.random.default_rng(0).random((200, 6, 6, 3), np.float32) * 255
    uniform = np.random.default_rng(1).random((200, numbers_needed(3) - 2), np.float32)
    config = AugmentConfig(gain=0.5, shift=30.0, invert=0.0)
    changed = recolour(tf.constant(images), config, tf.constant(uniform)).numpy()
    shift = changed.mean(axis=(1, 2)) - images.mean(axis=(1, 2))
    gain = changed.std(axis=(1, 2)) / images.std(axis=(1, 2))
    assert np.abs(shift).max() <= 30.01 and shift.max() > 25 and shift.min() < -25
    # The picture's own factor times half of a channel's.
    assert gain.max() <= 1.5**1.5 + 1e-3 and gain.min() >= 1.5**-1.5 - 1e-3
