"""What is known of all annotations before a job starts: the longest number, and the sample of a limit."""

import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.prepare import survey as module
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.plan import make_plan
from beam_jobs.prepare.survey import Survey, limit_digest, survey
from beam_jobs.sources.base import Subset
from tfrecords.files.place import Place
from tfrecords.images.crop import CropSpec

SUBSETS = (Subset("train", "a", 300, ""), Subset("test", "b", 100, ""))


class Numbers:
    """A source of numbers of 1 to 40 characters."""

    has_boxes = False

    def read_annotations(self, subset: Subset, start: int, stop: int, *_: object) -> list[Annotation]:
        return [Annotation(subset.name, f"{i}.png", i, "7" * (i % 40 + 1)) for i in range(start, stop)]


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_source", lambda name: Numbers())


def kept(limit: int, seed: int = 0) -> set[str]:
    found = survey(PrepareConfig(limit=limit, seed=seed), SUBSETS)
    every = [each for subset in SUBSETS for each in Numbers().read_annotations(subset, 0, subset.entries)]
    largest = found.largest_digest
    names = {each.key for each in every if largest is None or limit_digest(each, seed) <= largest}
    assert found.kept == {subset.name: sum(name.startswith(subset.name) for name in names) for subset in SUBSETS}
    return names


def test_a_limit_takes_a_nested_sample_of_all_subsets() -> None:
    assert [len(kept(limit)) for limit in (1, 10, 100, 399, 400, 1000)] == [1, 10, 100, 399, 400, 400]
    assert kept(10) < kept(100) < kept(399)
    assert {name.split("/")[0] for name in kept(100)} == {"train", "test"}
    assert kept(100, seed=1) != kept(100)


def test_the_longest_number_is_that_of_those_that_a_record_can_hold() -> None:
    assert survey(PrepareConfig(max_length=None), SUBSETS).longest == 32
    assert survey(PrepareConfig(max_length=None), (Subset("train", "a", 7, ""),)).longest == 7
    assert survey(PrepareConfig(max_length=None), (Subset("train", "a", 0, ""),)).longest == 1


def test_a_remark_in_place_of_a_number_is_not_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["12", "cannot be read", "1.5"]
    found = [Annotation("train", f"{index}.png", index, text) for index, text in enumerate(texts)]
    monkeypatch.setattr(Numbers, "read_annotations", lambda *_: found)
    subsets = (Subset("train", "a", 3, ""),)
    assert survey(PrepareConfig(max_length=None), subsets).longest == 2
    assert survey(PrepareConfig(max_length=None, alphabet="0123456789."), subsets).longest == 3


def test_nothing_is_read_where_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Numbers, "read_annotations", None)
    monkeypatch.setattr(Numbers, "has_boxes", True)
    assert survey(PrepareConfig(max_length=9), SUBSETS) == Survey(9, {"train": 300, "test": 100})
    monkeypatch.setattr(Numbers, "has_boxes", False)
    assert survey(PrepareConfig(max_length=9, crop=CropSpec(crop_size=54)), SUBSETS).longest == 9


def test_pictures_without_a_box_are_stored_whole() -> None:
    assert not survey(PrepareConfig(), SUBSETS).has_boxes
    crop = make_plan(PrepareConfig(), SUBSETS, Place("records")).config.crop
    assert (crop.crop_size, crop.record_size, crop.jitters) == (54, 54, 0)


def test_pictures_that_are_stored_whole_anyway_keep_their_size() -> None:
    asked = PrepareConfig(max_length=9, whole_crops=True, crop=CropSpec(jitters=0))
    config = make_plan(asked, SUBSETS, Place("records")).config
    assert config == asked and config.image_shape("train") == config.image_shape("test") == (64, 64)
