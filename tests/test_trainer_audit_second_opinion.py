"""A reader of another package: how it is set up, what it is shown, and what is said of it."""

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.audit import second_opinion
from trainer.audit.labels import Answers
from trainer.audit.pictures import Pictures
from trainer.audit.second_opinion import RapidOcr, ask, load_second_opinion, opinion_fact, stretched
from trainer.audit.suspects import LABEL_DIGIT, Suspect


class Engine:
    """A stand-in for RapidOCR's object, which reads the number of the blue value."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def __call__(self, image: NDArray[np.uint8], **options: bool) -> SimpleNamespace:
        """Returns what the package does: nothing is None."""
        assert options == {"use_det": False, "use_cls": False, "use_rec": True}
        blue = int(image[0, 0, 0])
        return SimpleNamespace(txts=(f"No. {blue}",) if blue else None, scores=(np.float32(0.5),) if blue else None)


@pytest.fixture
def rapidocr(monkeypatch: pytest.MonkeyPatch) -> RapidOcr:
    """RapidOCR with a stand-in for the package."""
    package = SimpleNamespace(RapidOCR=Engine, __file__="/packages/rapidocr/__init__.py")
    monkeypatch.setitem(sys.modules, "rapidocr", cast(Any, package))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    return cast(RapidOcr, load_second_opinion("rapidocr"))


def test_rapidocr_reads_blue_first_on_one_thread(rapidocr: RapidOcr) -> None:
    assert rapidocr.engine.params["EngineConfig.onnxruntime.intra_op_num_threads"] == 1
    assert rapidocr.models.as_posix() == "/packages/rapidocr/models"
    assert rapidocr.read(np.full((4, 4, 3), (0, 5, 12), np.uint8)) == ("No. 12", 0.5)
    assert rapidocr.read(np.zeros((4, 4, 3), np.uint8)) == ("", 0.0)


def test_a_package_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rapidocr" else name)
    with pytest.raises(UserError, match=r"'streetdigits\[ocr\]' installs it\. Received: no module rapidocr"):
        load_second_opinion("rapidocr")


@pytest.mark.parametrize(("size", "shape"), [((20, 40), (8, 16, 3)), ((40, 20), (16, 8, 3)), ((7, 7), (8, 8, 3))])
def test_an_image_is_stretched_back_to_the_shape_of_its_crop(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    assert stretched(np.zeros((8, 8, 1), np.uint8), size).shape == shape


def test_it_sees_the_window_of_every_picture_and_only_characters_of_numbers_are_kept(
    rapidocr: RapidOcr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_opinion, "dataset_crop", lambda manifest: SimpleNamespace(record_shape=(8, 8)))
    images = [np.zeros((12, 12, 3), np.uint8) for _ in range(3)]
    # The window is that from the third row and column on.
    images[0][2:10, 2:10, 2], images[1][:2, :, 2], images[2][2:10, 2:10, 2] = 12, 200, 254
    examples = {"train": [SimpleNamespace(image=image) for image in (images[0], images[0], images[1])]}
    examples["test"] = [SimpleNamespace(image=images[2])]
    records = SimpleNamespace(manifest=SimpleNamespace(labels=Labels(2)), examples=examples.__getitem__)
    places = [("train", 0), ("train", 2), ("test", 0)]
    pictures = Pictures(
        ["a", "b", "c"], ["12", "7", "25"], [split for split, _ in places], places, sizes=np.full((3, 2), 16)
    )
    answers = ask(rapidocr, cast(Any, records), pictures)
    assert (answers.reader, answers.texts) == ("rapidocr", ["12", "", "25…"])
    assert answers.confidence.tolist() == [0.5, 0.0, 0.5] and answers.predictions is None


def test_what_is_said_of_it_counts_what_it_read_and_agreed_on() -> None:
    other = Answers("ocr", ["12", "", "3", "4", "5"], np.full(5, 0.9))
    evidence = {"readers": {"ocr": ["3", 0.9]}}
    found = [Suspect("c", LABEL_DIGIT, 0.9, "8", "3", evidence), Suspect("b", LABEL_DIGIT, 0.4, "7", "1", evidence)]
    without = [*found, Suspect("d", LABEL_DIGIT, 0.8, "4", "9")]
    said = opinion_fact(other, ["12", "7", "8", "4", "6"], without, found)
    assert "read 4 of 5 pictures, 2 as labelled" in said
    assert "1 of 2 suspicious labels as suggested, and 1 suspicions of" in said
