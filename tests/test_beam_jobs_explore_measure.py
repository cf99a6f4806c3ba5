"""Statistics of annotations: by hand, by other means, and for all of SVHN's own training boxes."""

import csv
import gzip
import itertools
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.explore.measure import measure, slopes
from beam_jobs.explore.statistics import BIN_DEGREES, Statistics, mean_of, quantile_of, total
from tests.real_data import data_folder
from tfrecords.images.crop import BoundingBox, Shape


def number(text: str, *boxes: tuple[float, float, float, float], index: int = 0, part: int = 0) -> Annotation:
    """An annotation whose boxes are left, top, width and height."""
    placed = tuple(BoundingBox(top, left, top + height, left + width) for left, top, width, height in boxes)
    return Annotation("train", f"{index}.png", index, text, placed, part=part)


def slope_of(annotation: Annotation) -> float:
    return float(slopes(np.array(annotation.boxes), np.array([len(annotation.boxes)]))[0])


@pytest.fixture(scope="module")
def svhn() -> tuple[list[Annotation], list[Shape | None]]:
    """Every annotation of SVHN's train, in reading order, and the size of its picture."""
    rows: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    with gzip.open(data_folder() / "svhn_annotations" / "train.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            rows[row["name"]].append(row)
    annotations, sizes = [], []
    for index, (name, digits) in enumerate(rows.items()):
        digits.sort(key=lambda row: int(row["left"]))
        boxes = [tuple(float(row[side]) for side in ("left", "top", "width", "height")) for row in digits]
        text = "".join(str(int(row["label"]) % 10) for row in digits)
        annotations.append(number(text, *boxes, index=index))  # type: ignore[arg-type]
        sizes.append((int(digits[0]["image_height"]), int(digits[0]["image_width"])))
        assert name
    return annotations, list(sizes)


@pytest.fixture(scope="module")
def train(svhn: tuple[list[Annotation], list[Shape | None]]) -> Statistics:
    return measure(*svhn, growth=0.3)


def test_svhn_has_the_published_lengths_and_shares(train: Statistics) -> None:
    assert train.lengths == {1: 5137, 2: 18130, 3: 8691, 4: 1434, 5: 9, 6: 1}
    digits = train.characters.total()
    assert digits == 73257
    shares = {digit: round(100 * count / digits, 1) for digit, count in train.characters.items()}
    assert (shares["1"], shares["9"]) == (18.9, 6.4)


def test_nine_pictures_of_svhn_run_from_bottom_to_top(train: Statistics) -> None:
    assert train.upwards == 9
    assert train.slopes.total() == 33402 - 5137
    # The tails by the bins, which have their edges there.
    for limit in (30, 60, 75, 90):
        edge = limit // BIN_DEGREES
        assert 0 <= sum(n for index, n in train.slopes.items() if index >= edge) - train.tails[limit] <= 5
        assert sum(n for index, n in train.slopes.items() if index < -edge) == train.tails[-limit]


def test_slopes_are_those_of_a_line_through_the_centres(svhn: tuple[list[Annotation], list[Shape | None]]) -> None:
    pairs = [one for one in svhn[0] if len(one.boxes) == 2][:200]
    for one in pairs:
        x = [(box.xmin + box.xmax) / 2 for box in one.boxes]
        y = [(box.ymin + box.ymax) / 2 for box in one.boxes]
        # Through two points, least squares has the slope of the line; y grows downwards.
        assert np.tan(np.radians(slope_of(one))) == pytest.approx(-np.polyfit(x, y, 1)[0], rel=1e-6, abs=1e-9)


def test_the_sign_of_a_slope_says_whether_a_number_rises_and_its_size_which_way_it_is_read() -> None:
    first = (0, 100, 10, 20)
    for second, angle in [
        ((20, 100, 10, 20), 0),
        ((20, 80, 10, 20), 45),
        ((20, 120, 10, 20), -45),
        ((0, 50, 10, 20), 90),
        ((0, 150, 10, 20), -90),
        ((-20, 120, 10, 20), -135),
    ]:
        assert slope_of(number("12", first, second)) == pytest.approx(angle)


def test_the_part_of_a_grown_box_that_edges_cut_off_is_counted() -> None:
    inside, corner, outside = (40, 40, 20, 20), (0, 0, 20, 20), (200, 0, 20, 20)
    annotations = [number("1", box, index=index) for index, box in enumerate((inside, corner, outside))]
    found = measure(annotations, [(100, 100)] * 3, growth=0.3)
    # The corner's box grows from 20 to 26 pixels, of which 23 are in the picture in each direction.
    assert found.cut_millionths == round(1e6 * (1 - (23 / 26) ** 2))
    assert found.cut == {0: 1, 22: 1} and found.crops == 2
    assert found.cut_sides == {"left": 1, "top": 1, "right": 0, "bottom": 0}
    assert found.rejected == {"box_outside": 1}


def test_boxes_of_any_size_are_measured() -> None:
    found = measure([number("1", (0, 0, 1e300, 1e-300))], [(10, 10)], growth=0.3)
    assert found.box_widths == {10**9: 1} and found.box_heights == {0: 1}
    assert found.crops == 1


def test_a_picture_of_several_numbers_counts_once() -> None:
    annotations = [number("1", (0, 0, 5, 5), part=1), number("2", (5, 0, 5, 5), part=2), number("3", index=1)]
    found = measure(annotations, [(10, 20), (10, 20), (30, 40)], growth=0.0)
    assert found.sizes == {(10, 20): 1, (30, 40): 1} and found.pictures == 2
    assert found.lengths == {1: 3}


def test_numbers_that_are_not_known_have_no_length() -> None:
    found = measure([number(""), number("70")], [None, None], growth=0.3)
    assert (found.unlabelled, found.lengths, found.characters) == (1, {2: 1}, {"7": 1, "0": 1})
    assert not found.pictures and not found.crops


def test_blocks_add_up_to_the_whole_in_any_order(
    svhn: tuple[list[Annotation], list[Shape | None]], train: Statistics
) -> None:
    edges = [0, 1, 5000, 5001, 20000, 33402]
    parts = [measure(svhn[0][a:b], svhn[1][a:b], growth=0.3) for a, b in itertools.pairwise(edges)]
    random.Random(0).shuffle(parts)
    assert total(parts) == train


def test_means_and_medians_of_counts_are_those_of_the_values() -> None:
    values = np.random.default_rng(0).integers(0, 50, 1001)
    counts = Counter(values.tolist())
    assert mean_of(counts) == pytest.approx(values.mean())
    assert quantile_of(counts, 0.5) == int(np.median(values))
    assert quantile_of(counts, 1.0) == values.max() and quantile_of(counts, 0.0) == values.min()
    assert mean_of({}) is None and quantile_of({}, 0.5) is None
