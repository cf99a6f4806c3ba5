"""Targets and loss of models that find numbers, against NumPy place by place."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.finding.losses import finding_loss, focal_loss, found_pictures, generalised_iou, iou, place_boxes
from trainer.finding.targets import Targets, make_targets

SIZE, STRIDE = (5, 7), 8
BOXES = np.array(
    [
        [[2, 3, 20, 45], [22, 30, 38, 54], [0, 0, 0, 0]],
        [[8, 8, 16, 20], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
    np.float32,
)
IS_NUMBER = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
NONE = np.zeros_like(IS_NUMBER)


def _targets(is_number: NDArray[np.bool_] = IS_NUMBER, is_ignored: NDArray[np.bool_] = NONE) -> Targets:
    found = make_targets(BOXES, is_number, is_ignored, SIZE, STRIDE)
    return Targets(*(np.asarray(part) for part in found))


def _gaussian(box: NDArray[np.float32], row: int, column: int) -> float:
    total = 0.0
    for axis, place in ((0, row), (1, column)):
        centre = math.floor((box[axis] + box[axis + 2]) / 2 / STRIDE)
        deviation = max((box[axis + 2] - box[axis]) / STRIDE * 0.09, 0.5)
        total += ((place - centre) / deviation) ** 2
    return math.exp(-total / 2)


def test_heat_and_boxes_are_those_of_the_nearest_number_place_by_place() -> None:
    targets = _targets()
    for picture in range(3):
        boxes = BOXES[picture][IS_NUMBER[picture]]
        for row in range(SIZE[0]):
            for column in range(SIZE[1]):
                each = [_gaussian(box, row, column) for box in boxes]
                np.testing.assert_allclose(targets.heat[picture, row, column], max(each, default=0), atol=1e-6)
                if max(each, default=0) >= 0.1:
                    np.testing.assert_array_equal(targets.boxes[picture, row, column], boxes[int(np.argmax(each))])
    assert (targets.heat == 1).sum() == 3 and targets.is_counted.all()


def test_the_weights_of_a_numbers_places_add_up_to_one() -> None:
    targets = _targets()
    np.testing.assert_allclose(targets.weight.sum((1, 2)), [2, 1, 0], rtol=1e-5)
    assert (targets.weight[targets.heat < 0.1] == 0).all()


def test_a_wide_number_is_hot_further_along_than_across() -> None:
    boxes = np.zeros((1, 3, 4), np.float32)
    boxes[0, 0] = [12, 0, 28, 56]
    heat = np.asarray(make_targets(boxes, IS_NUMBER[1:2], NONE[1:2], SIZE, STRIDE).heat)[0]
    row, column = np.argwhere(heat == 1)[0]
    assert heat[row, column + 1] > 0.2 > heat[row + 1, column]


def test_places_in_a_box_that_does_not_count_have_no_heat_loss_but_near_a_number_they_do() -> None:
    ignored = np.zeros_like(IS_NUMBER)
    ignored[0, 1] = True
    targets = _targets(IS_NUMBER & ~ignored, ignored)
    middles = [(row, column) for row in range(5) for column in range(7) if not targets.is_counted[0, row, column]]
    assert middles == [(row, column) for row in (3, 4) for column in (4, 5, 6)]
    assert targets.is_counted[1:].all()


def test_the_focal_loss_is_that_of_the_paper_place_by_place() -> None:
    targets = _targets()
    logits = np.random.default_rng(0).normal(0, 2, (3, *SIZE)).astype(np.float32)
    expected = np.zeros(3)
    for (picture, row, column), logit in np.ndenumerate(logits):
        p, heat = 1 / (1 + math.exp(-logit)), float(targets.heat[picture, row, column])
        near = heat == 1
        expected[picture] -= (1 - p) ** 2 * math.log(p) if near else (1 - heat) ** 4 * p**2 * math.log(1 - p)
    np.testing.assert_allclose(np.asarray(focal_loss(logits, targets)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "plain", "generalised"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 1, 1),
        ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7, 1 / 7 - 2 / 9),
        ([0, 0, 1, 1], [2, 2, 3, 3], 0, -7 / 9),
        ([0, 0, 2, 2], [0, 3, 2, 4], 0, -2 / 8),
    ],
)
def test_overlaps_are_known(first: list[float], second: list[float], plain: float, generalised: float) -> None:
    boxes = np.array(first, np.float32), np.array(second, np.float32)
    assert float(iou(*boxes)) == pytest.approx(plain, abs=1e-6)
    assert float(generalised_iou(*boxes)) == pytest.approx(generalised, abs=1e-6)


def _perfect(targets: Targets) -> dict[str, NDArray[np.float32]]:
    """Returns the outputs of a model that knows the targets."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] * STRIDE + STRIDE / 2
    middle = np.stack([y, x, -y, -x], -1)
    distances = (middle - targets.boxes * [1, 1, -1, -1]) / STRIDE
    heat = np.where(targets.heat == 1, 9.0, -9.0)
    return {
        "heat_logits": heat[..., None].astype(np.float32),
        "distance_logits": np.log(np.maximum(distances, 1e-3)).astype(np.float32),
    }


def test_a_model_that_knows_the_targets_has_no_loss_and_finds_all() -> None:
    targets = _targets()
    outputs = _perfect(targets)
    predicted = np.asarray(place_boxes(outputs["distance_logits"], STRIDE))
    np.testing.assert_allclose(predicted[targets.heat == 1], targets.boxes[targets.heat == 1], atol=0.02)
    assert (np.asarray(finding_loss(outputs, targets, STRIDE)) < 0.02).all()
    assert np.asarray(found_pictures(outputs, BOXES, IS_NUMBER, STRIDE)).all()


def test_a_picture_is_not_found_with_one_number_missed_or_a_place_hot_where_there_is_none() -> None:
    targets = _targets()
    outputs = _perfect(targets)
    row, column = np.argwhere(targets.heat[0] == 1)[1]
    outputs["heat_logits"][0, row, column] = -1
    outputs["heat_logits"][2, 0, 0] = 1
    assert np.asarray(found_pictures(outputs, BOXES, IS_NUMBER, STRIDE)).tolist() == [False, True, False]
    outputs["distance_logits"][1] += 1
    assert not np.asarray(found_pictures(outputs, BOXES, IS_NUMBER, STRIDE))[1]
    loss = np.asarray(finding_loss(outputs, targets, STRIDE))
    assert (loss > 0.1).all()
