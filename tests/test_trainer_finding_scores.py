"""Boxes from heat maps, and the scores of boxes against an independent computation."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tfrecords.images.crop import BoundingBox
from trainer.finding.boxes import Found, box_iou, select
from trainer.finding.decode import MOST_PEAKS, peaks
from trainer.finding.scores import at_threshold, average_precision, best_threshold, match, match_all, score_found


def _random(seed: int, pictures: int = 12) -> tuple[list[list[Found]], list[list[BoundingBox]]]:
    """Returns boxes found and true ones: some close, some wrong, some missed."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(pictures):
        boxes = [BoundingBox(y, x, y + 10, x + 20) for y, x in rng.uniform(0, 60, (rng.integers(0, 4), 2))]
        moved = [BoundingBox(*(np.array(box) + rng.normal(0, 2, 4))) for box in boxes if rng.random() < 0.8]
        wrong = [BoundingBox(y, x, y + 9, x + 9) for y, x in rng.uniform(0, 60, (rng.integers(0, 3), 2))]
        each = [Found(box, float(rng.random())) for box in moved + wrong]
        found.append(sorted(each, key=lambda one: -one.confidence))
        truth.append(boxes)
    return found, truth


def _brute_force(found: list[list[Found]], truth: list[list[BoundingBox]]) -> list[tuple[float, float, float]]:
    """Returns threshold, recall and precision at every confidence, each counted from the beginning."""
    rows = []
    for threshold in sorted({one.confidence for each in found for one in each}, reverse=True):
        right = count = 0
        for each, boxes in zip(found, truth, strict=True):
            taken: set[int] = set()
            for one in each:
                if one.confidence < threshold:
                    continue
                count += 1
                free = [(box_iou(one.box, box), i) for i, box in enumerate(boxes) if i not in taken]
                if free and max(free)[0] >= 0.5:
                    right += 1
                    taken.add(max(free)[1])
        rows.append((threshold, right / sum(map(len, truth)), right / count))
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_and_the_best_threshold_are_those_of_a_count_at_every_confidence(seed: int) -> None:
    found, truth = _random(seed)
    matches, rows = match_all(found, truth), _brute_force(found, truth)
    area, before = 0.0, 0.0
    for index, (_, recall, _) in enumerate(rows):
        area += (recall - before) * max(precision for _, _, precision in rows[index:])
        before = recall
    assert average_precision(matches) == pytest.approx(area)
    f1 = [2 * recall * precision / (recall + precision) if recall else 0 for _, recall, precision in rows]
    threshold, recall, precision = rows[int(np.argmax(f1))]
    assert best_threshold(matches) == threshold
    assert at_threshold(matches, threshold) == pytest.approx({"recall": recall, "precision": precision})


def test_a_number_is_matched_once_and_by_the_most_confident_box() -> None:
    box = BoundingBox(0, 0, 10, 10)
    found = [Found(BoundingBox(0, 0, 10, 9), 0.9), Found(box, 0.8), Found(BoundingBox(0, 0, 3, 10), 0.7)]
    assert match(found, [box]) == [pytest.approx(0.9), 0, 0]
    assert match(found, []) == [0, 0, 0]
    # The second takes the number that is left, although it overlaps the first one more.
    second = BoundingBox(0, 3, 10, 13)
    assert match(found[:2], [box, second])[1] == pytest.approx(7 / 13)


def test_pictures_without_a_number_count_what_is_found_in_them() -> None:
    one = Found(BoundingBox(0, 0, 4, 4), 0.9)
    scores = score_found([[one], [one], []], [[one.box], [], []])
    assert (scores["num_pictures_without_number"], scores["num_of_these_with_a_box"]) == (2, 1)
    assert (scores["recall"], scores["precision"], scores["average_precision"]) == (1, 0.5, 1)


def test_nothing_found_and_nothing_to_find_have_scores() -> None:
    none = score_found([[], []], [[], [BoundingBox(0, 0, 4, 4)]])
    assert (none["recall"], none["precision"], none["average_precision"], none["mean_iou"]) == (0, 1, 0, 0)
    assert score_found([[]], [[]])["recall"] == 1


def test_boxes_of_one_confidence_are_above_a_threshold_together() -> None:
    right, wrong = BoundingBox(0, 0, 4, 4), BoundingBox(20, 20, 24, 24)
    found = [[Found(right, 0.9)], [Found(wrong, 0.5)], [Found(right, 0.5)]]
    matches = match_all(found, [[right], [], [right]])
    assert best_threshold(matches) == 0.5
    assert at_threshold(matches, 0.5) == {"recall": 1, "precision": 2 / 3}


def _outputs(rows: int = 6, columns: int = 8) -> dict[str, NDArray[np.float32]]:
    return {
        "heat_logits": np.full((2, rows, columns, 1), -6, np.float32),
        "distance_logits": np.zeros((2, rows, columns, 4), np.float32),
    }


def test_peaks_are_the_hottest_of_their_neighbourhood_in_falling_order() -> None:
    outputs = _outputs()
    for row, column, logit in ((1, 1, 2), (1, 2, 1.5), (4, 6, 3), (5, 0, 0.5)):
        outputs["heat_logits"][0, row, column] = logit
    boxes, confidence = (np.asarray(part) for part in peaks(outputs, 8))
    assert boxes.shape == (2, MOST_PEAKS, 4) and confidence.shape == (2, MOST_PEAKS)
    np.testing.assert_allclose(confidence[0, :3], 1 / (1 + np.exp([-3, -2, -0.5])), rtol=1e-5)
    np.testing.assert_allclose(boxes[0, 0], [4 * 8 + 4 - 8, 6 * 8 + 4 - 8, 4 * 8 + 4 + 8, 6 * 8 + 4 + 8])


def test_a_map_of_fewer_places_than_peaks_is_decoded() -> None:
    boxes, confidence = peaks(_outputs(2, 2), 8)
    assert boxes.shape == (2, 4, 4) and confidence.shape == (2, 4)


def test_each_number_is_selected_once_clipped_to_the_picture_and_in_its_pixels() -> None:
    boxes = np.array([[0, -4, 10, 20], [1, 0, 10, 19], [20, 20, 30, 60], [70, 70, 80, 80], [0, 0, 5, 5]], np.float32)
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.2], np.float32)
    found = select(boxes, confidence, (40, 50), 0.3, (2, 4, 2, 4))
    assert [one.box for one in found] == [BoundingBox(0, 0, 5, 5), BoundingBox(10, 5, 15, 12.5)]
    assert [one.confidence for one in found] == pytest.approx([0.9, 0.7])


def test_a_part_of_a_number_that_was_found_is_no_number_of_its_own() -> None:
    boxes = np.array([[10, 10, 20, 50], [10, 10, 20, 22], [10, 45, 20, 60]], np.float32)
    found = select(boxes, np.array([0.9, 0.8, 0.7], np.float32), (64, 64), 0.5)
    assert [one.box.xmin for one in found] == [10, 45]
