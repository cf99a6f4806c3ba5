"""Copies of pictures: their hashes, the search for close ones, and which pairs are reported."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.audit.copies import copy_suspects
from trainer.audit.duplicates import Pair, close_hashes, correlation, duplicates, perceptual_hash
from trainer.audit.outliers import outlier_scores, outlier_suspects
from trainer.audit.pictures import Pictures, text_by_place
from trainer.audit.suspects import DUPLICATE_NEAR, LEAK, OUTLIER_CONTRAST, OUTLIER_SIZE


def _scenes(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns smooth grey pictures that differ from each other."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8), np.uint8)
    return np.stack([cv2.resize(each, (32, 32), interpolation=cv2.INTER_CUBIC) for each in coarse])


def test_a_hash_is_the_signs_of_low_frequencies_of_opencvs_cosine_transform() -> None:
    pictures = _scenes(5)
    for picture, found in zip(pictures, perceptual_hash(pictures).tolist(), strict=True):
        low = cv2.dct(picture.astype(np.float64))[:8, :8].ravel()
        low[0] = 0
        assert found == sum(1 << place for place in range(64) if low[place] > 1e-6)


def test_contrast_and_brightness_change_no_hash() -> None:
    pictures = _scenes(20) // 2
    assert (perceptual_hash(pictures) == perceptual_hash(pictures + 60)).all()


@pytest.mark.parametrize("most", [0, 3, 7])
def test_all_pairs_of_close_hashes_are_found_as_by_comparing_each_with_each(most: int) -> None:
    rng = np.random.default_rng(most)
    base = rng.integers(0, 1 << 63, 40, np.uint64)
    changed = [int(value) for value in base for _ in range(3)]
    for place in range(len(changed)):
        for bit in rng.choice(64, rng.integers(0, 9), replace=False):
            changed[place] ^= 1 << int(bit)
    expected = [
        (first, second)
        for second in range(len(changed))
        for first in range(second)
        if (changed[first] ^ changed[second]).bit_count() <= most
    ]
    hashes = np.array(changed, np.uint64)
    found = close_hashes(hashes, hashes, most)
    assert sorted(map(tuple, found.tolist())) == sorted(expected) and (most == 0 or expected)


def test_a_picture_that_is_moved_by_two_pixels_has_the_correlation_1() -> None:
    picture = _scenes(1, seed=2)
    moved = np.roll(picture, (2, -1), axis=(1, 2))
    assert correlation(picture, moved)[0] == pytest.approx(1)
    assert correlation(picture, _scenes(1, seed=5))[0] < 0.9
    assert correlation(picture, np.full_like(picture, 7))[0] == 0


def test_copies_are_found_and_other_pictures_are_not() -> None:
    pictures = _scenes(200)
    noisy = np.clip(pictures[3] + np.random.default_rng(1).normal(0, 4, (32, 32)), 0, 255).astype(np.uint8)
    moved = np.roll(pictures[5:6], (2, 2), axis=(1, 2))
    found = duplicates(np.concatenate([pictures, pictures[:1], noisy[None], moved]))
    pairs = [(pair.first, pair.second, pair.exact) for pair in found]
    assert pairs == [(0, 200, True), (3, 201, False), (5, 202, False)]
    assert 0.95 < found[1].correlation < 1 and 0.5 < found[1].distinct < found[0].distinct == 1


def test_a_shape_that_many_pictures_have_is_no_copy() -> None:
    rng = np.random.default_rng(0)
    one = _scenes(1)[0]
    alike = np.clip(one + rng.normal(0, 4, (8, 32, 32)), 0, 255).astype(np.uint8)
    assert duplicates(alike) == [] and len(duplicates(alike[:2])) == 1


def _pictures(keys: list[str], texts: list[str], splits: list[str]) -> Pictures:
    return Pictures(keys=keys, texts=texts, splits=splits)


def test_the_copy_in_train_should_go_and_two_labels_make_it_worse() -> None:
    pictures = _pictures(["train/1.png", "test/2.png", "train/3.png"], ["12", "12", "13"], ["train", "test", "train"])
    leak, same = copy_suspects(pictures, [Pair(0, 1, 0.99, 0.98, False), Pair(0, 2, 0.99, 0.97, False)])
    assert (leak.key, leak.kind, leak.evidence["copy_of"], leak.score) == ("train/1.png", LEAK, "test/2.png", 0.98)
    assert (same.key, same.kind, same.evidence["same_label"]) == ("train/3.png", DUPLICATE_NEAR, False)
    assert same.score == pytest.approx(1.97)


def test_two_numbers_of_one_picture_are_no_copies() -> None:
    pictures = _pictures(["train/1.png@1", "train/1.png@2"], ["1", "1"], ["train", "train"])
    assert copy_suspects(pictures, [Pair(0, 1, 1.0, 1.0, True)]) == []


def test_outliers_are_far_from_the_median_on_either_side() -> None:
    values = np.exp(np.random.default_rng(0).uniform(-1, 1, 500))
    values[[7, 9]] = 0.001, 9000
    scores = outlier_scores(values)
    assert scores[7] < -3.5 and scores[9] > 3.5 and (np.abs(scores) >= 3.5).sum() == 2
    assert not outlier_scores(np.ones(5)).any()


def test_an_outlier_says_what_was_measured() -> None:
    rng = np.random.default_rng(0)
    sizes = np.stack([rng.integers(20, 40, 100), rng.integers(20, 40, 100)], axis=1)
    sizes[4] = 900, 30
    keys = [f"train/{index}.png" for index in range(100)]
    contrast = rng.uniform(20, 60, 100)
    contrast[8] = 0.0
    found = outlier_suspects(
        Pictures(keys=keys, texts=["1"] * 100, sizes=sizes, contrast=contrast, sharpness=rng.uniform(50, 90, 100))
    )
    assert {(one.key, one.kind, one.evidence["side"]) for one in found} == {
        ("train/4.png", OUTLIER_SIZE, "large"),
        ("train/8.png", OUTLIER_CONTRAST, "small"),
    }


def test_boxes_spell_a_number_from_left_to_right_unless_it_is_written_downwards() -> None:
    boxes = np.array([[0, 20, 10, 28], [0, 0, 10, 8], [1, 10, 11, 18], [0, 0, 0, 0]], np.float32)
    assert text_by_place("123", boxes) == "231"
    assert text_by_place("123", boxes[:, [1, 0, 3, 2]]) == "123"
