"""Boxes: other cuts of a crop, and labels that are read in one of them."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tfrecords.record.labels import Labels
from trainer.audit.boxes import box_suspects, large_suspects, order_suspects, recut, unseen_suspects
from trainer.audit.pictures import NamedReader, Pictures
from trainer.audit.suspects import BOX, BOX_ORDER, LABEL_DIGIT, LABEL_LENGTH, LEAK, Suspect
from trainer.scoring.decode import Predictions, decode_predictions

ONE = Labels(1, "01")


class Brightness:
    """A reader that reads 1 where the leftmost columns are bright, and 0 elsewhere."""

    run = SimpleNamespace(image_shape=(8, 8, 1))

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Returns the predictions."""
        bright = images[:, :, :2].mean(axis=(1, 2, 3)) > 100
        digits = np.where(bright[:, None, None], [[-5.0, 5.0]], [[5.0, -5.0]])
        return decode_predictions(None, digits, ONE)


def test_cuts_move_and_grow_within_the_margin_and_shrink_without_one() -> None:
    image = np.arange(144, dtype=np.uint8).reshape(12, 12, 1)
    cuts = recut(image, 8, 8)
    assert set(cuts) == {"shrunk", "grown", "moved up", "moved down", "moved left", "moved right"}
    assert all(cut.shape == (8, 8, 1) for cut in cuts.values())
    assert (cuts["moved left"] == image[2:10, :8]).all() and (cuts["moved down"] == image[4:, 2:10]).all()
    assert set(recut(image[2:10, 2:10], 8, 8)) == {"shrunk"}


def test_a_label_that_is_read_in_another_cut_has_a_suspicious_box() -> None:
    image = np.zeros((12, 12, 1), np.uint8)
    image[:, :2] = 140
    records = cast(Any, SimpleNamespace(examples=lambda split: [SimpleNamespace(image=image)]))
    pictures = Pictures(keys=["train/a.png"], texts=["1"], splits=["train"], places=[("train", 0)])
    reader = NamedReader("one", cast(Any, Brightness()))
    doubted = [Suspect("train/a.png", LABEL_DIGIT, 0.9, "1", "0")]
    (found,), notes = box_suspects(records, pictures, doubted, [reader])
    assert notes == []
    assert (found.kind, found.given, found.evidence["view"]) == (BOX, "1", "moved left") and found.score > 0.49
    image[:] = 0
    assert box_suspects(records, pictures, doubted, [reader]) == ([], [])


def test_a_label_of_which_no_more_than_the_start_or_the_end_is_read_has_a_box_that_misses_it() -> None:
    read = {"12": "123", "23": "123", "13": "123", "": "123", "1234": "123"}
    suspects = [Suspect(text, LABEL_LENGTH, 0.5, given, text) for text, given in read.items()]
    found = unseen_suspects([*suspects, Suspect("leak", LEAK, 0.5, "123", "12")])
    assert [one.evidence["shows"] for one in found] == ["12", "23", ""]
    assert {(one.kind, one.score, one.suggested) for one in found} == {(BOX, 0.5, "")}


class Dark:
    """A reader that reads 0 in a dark image, and nothing in a bright one."""

    run = SimpleNamespace(image_shape=(8, 8, 1))

    def predict(self, images: NDArray[np.uint8]) -> Predictions:
        """Returns the predictions."""
        bright = images.mean(axis=(1, 2, 3)) > 100
        lengths = np.where(bright[:, None], [[9.0, -9.0, -9.0]], [[-9.0, 9.0, -9.0]])
        return decode_predictions(lengths, np.broadcast_to([[[9.0, -9.0]]], (len(images), 1, 2)), ONE)


def test_a_label_that_is_read_in_the_middle_of_the_crop_has_a_box_that_is_too_large() -> None:
    right, large = (np.full((12, 12, 1), 140, np.uint8) for _ in range(2))
    large[4:8, 4:8] = 0
    images = [SimpleNamespace(image=image) for image in (right, large, large)]
    records = cast(Any, SimpleNamespace(examples=lambda split: images))
    pictures = Pictures(["a", "b", "c"], ["0", "0", "1"], ["train"] * 3, [("train", index) for index in range(3)])
    dark = NamedReader("dark", cast(Any, Dark()))
    # One that never answers that there is no number would have guessed each 0.
    guesses = NamedReader("guesses", cast(Any, Brightness()))
    (found,), unused = large_suspects(records, pictures, [dark, guesses])
    assert (found.key, found.kind, found.evidence["middle"]) == ("b", BOX, 1.0) and unused == ["guesses"]
    assert found.score == pytest.approx(0.65, abs=1e-3)
    assert large_suspects(records, pictures, [guesses]) == ([], ["guesses"])


def test_boxes_in_another_order_than_the_label_are_suspicious() -> None:
    pictures = Pictures(keys=["a", "b"], texts=["12", "12"], order=["12", "21"])
    assert [(one.key, one.kind, one.suggested) for one in order_suspects(pictures)] == [("b", BOX_ORDER, "21")]
