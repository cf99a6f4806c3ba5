"""Scenes and their records."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.record.codec import decode
from tfrecords.record.scene import SCENE_ENCODINGS, SceneExample, decode_scene, decode_scene_label, encode_scene


def make_scene(texts: tuple[str, ...] = ("19", "7"), channels: int = 3) -> SceneExample:
    """Returns a scene of 64 x 64 pixels, of which the picture fills 48 x 64, with known boxes."""
    rows, columns = np.mgrid[:64, :64]
    image = np.repeat(((rows + 2 * columns) % 256).astype(np.uint8)[..., None], channels, 2)
    image[48:] = 0
    labels = [int(character) for text in texts for character in text]
    owners = [index for index, text in enumerate(texts) for _ in text]
    lefts = np.arange(len(labels), dtype=np.float32) * 12
    digits = np.stack([lefts * 0 + 8, lefts, lefts * 0 + 24, lefts + 8], 1)
    numbers = [digits[np.array(owners) == index] for index in range(len(texts))]
    boxes = np.array([[*each[:, :2].min(0), *each[:, 2:].max(0)] for each in numbers], np.float32).reshape(-1, 4)
    return SceneExample(
        key="train/1.png",
        image=image,
        texts=texts,
        boxes=boxes,
        digit_labels=np.array(labels, np.int64),
        digit_numbers=np.array(owners, np.int64),
        digit_boxes=digits.astype(np.float32).reshape(-1, 4),
        source_size=np.array([96, 128]),
        content_size=np.array([48, 64]),
    )


@pytest.mark.parametrize("encoding", SCENE_ENCODINGS)
@pytest.mark.parametrize("texts", [("19", "7"), ()])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_record_holds_what_was_encoded(encoding: str, texts: tuple[str, ...], channels: int) -> None:
    scene = make_scene(texts, channels)
    found = decode_scene(encode_scene(scene, encoding))
    assert (found.key, found.texts) == (scene.key, scene.texts)
    for name in ("boxes", "digit_labels", "digit_numbers", "digit_boxes", "source_size", "content_size"):
        np.testing.assert_allclose(getattr(found, name), getattr(scene, name), err_msg=name, atol=1e-4)
    most = 8 if encoding == "jpeg" else 0
    assert np.abs(found.image.astype(int) - scene.image.astype(int)).max() <= most


def test_equal_scenes_give_equal_bytes() -> None:
    assert encode_scene(make_scene()) == encode_scene(make_scene())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"boxes": np.zeros((1, 4), np.float32)}, "boxes must have shape"),
        ({"digit_numbers": np.array([0, 0, 2])}, "digit_numbers must be 3 indices of numbers, 0 to below 2"),
        ({"digit_labels": np.array([1, 9, 10])}, "digit_labels must be indices of characters, 0 to below 10"),
        ({"texts": ("19", "")}, "texts must be of the characters"),
        ({"content_size": np.array([65, 64])}, "content_size must be that of a part of the image"),
    ],
)
def test_a_scene_that_breaks_a_rule_is_refused_with_its_key(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError, match=rule) as refused:
        decode_scene(encode_scene(replace(make_scene(), **change)), "shard 0, record 3")
    assert str(refused.value).startswith("shard 0, record 3 (train/1.png)")


def test_readers_of_single_numbers_say_what_reads_a_scene() -> None:
    with pytest.raises(UserError, match=r"a record of a dataset of task find is read by decode_scene"):
        decode(encode_scene(make_scene()))
    assert decode_scene_label(encode_scene(make_scene())) == ("train/1.png", ("19", "7"))


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(UserError, match=r"not a tf\.train\.Example"):
        decode_scene(b"\xff\xff")
    with pytest.raises(UserError, match="feature key must hold 1 bytes"):
        decode_scene(b"")
