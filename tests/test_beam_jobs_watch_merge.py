"""Directories of a stream merged to one: the bytes of one `prepare`, resumed after kills, refused where damaged."""

from dataclasses import replace
from pathlib import Path

import pytest

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.watch.batch import Batch
from beam_jobs.watch.generation import plan_subsets
from beam_jobs.watch.merge import merge_directories
from beam_jobs.watch.stream import Stream
from tests.streams import STREAMED, all_subsets, batch, draw_batch, files, make, make_generation, part
from tfrecords.dataset.snapshots import Part
from tfrecords.files.place import Place
from tfrecords.images.crop import CropSpec

WHOLE = replace(STREAMED, crop=CropSpec(jitters=0))
BACKGROUNDS = replace(STREAMED, backgrounds=0.5, test_fraction=0.2)
PNG = replace(WHOLE, encoding="png", examples_per_shard=7)


@pytest.fixture
def batches(drawn: Path, tmp_path: Path) -> list[Batch]:
    """Batches of a few pictures, some of which are rejected, and one that is published for test."""
    damage = ("missing", "cut", "long")
    sizes = ((0, 11), (11, 1), (12, 17), (29, 7), (36, 9))
    inbox = tmp_path / "inbox"
    found = [
        batch(draw_batch(drawn / "train", inbox / f"b{first}", first, count, damage if count > 8 else ()))
        for first, count in sizes
    ]
    return [*found, batch(draw_batch(drawn / "test", inbox / "more", 0, 8), "test")]


def generations(stream: Stream, batches: list[Batch]) -> list[Part]:
    """Makes three generations: of two batches, of three, and of the one that is for test alone."""
    first, second, third = sorted(batches[:2], key=lambda each: each.name), batches[2:5], batches[5:]
    return [make_generation(stream, number, each) for number, each in ((0, first), (3, second), (4, third))]


@pytest.mark.parametrize("config", [STREAMED, WHOLE, BACKGROUNDS, PNG], ids=["jitters", "whole", "backgrounds", "png"])
def test_compact_full_makes_the_shards_that_prepare_over_the_accepted_batches_makes(
    batches: list[Batch], tmp_path: Path, config: PrepareConfig
) -> None:
    """Guarantee 5: every file, byte for byte."""
    stream = Stream(Place(tmp_path / "stream"), config)
    parts = generations(stream, batches)
    merge_directories(stream, parts, "generations/00000000-00000004")
    plan = plan_subsets(stream, all_subsets(batches), Place(tmp_path / "prepared"))
    make(plan)
    merged, prepared = files(tmp_path / "stream/generations/00000000-00000004"), files(tmp_path / "prepared")
    assert merged.keys() == prepared.keys()
    assert [name for name in merged if merged[name] != prepared[name]] == []
    assert any(b"missing" in data for name, data in merged.items() if name == "dead_letters.jsonl")
    assert len([name for name in merged if ".tfrecord" in name]) >= 3
    assert part(stream, "generations/00000000-00000004").first == 0
