"""A stream's configuration: fixed at first start, and compared with the flags of each later one."""

from pathlib import Path
from typing import Any

import pytest

from beam_jobs.prepare.plan import for_boxes
from beam_jobs.watch.config import WatchJob, check_given, new_config
from beam_jobs.watch.stream import Stream
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def stream_of(folder: Path, has_boxes: bool = True, **values: Any) -> Stream:
    config = new_config({"source": "svhn", **values})
    return Stream(Place(folder), for_boxes(config, has_boxes), has_boxes)


def test_it_reads_what_it_saved_and_starts_once(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, seed=7, jitters=2, alphabet="0123456789.")
    stream.save()
    assert Stream.load(Place(tmp_path)) == stream
    stream.save()
    with pytest.raises(UserError, match="another process has started it"):
        stream_of(tmp_path, seed=8).save()


@pytest.mark.parametrize("setting", [{"limit": 5}, {"shards": 2}, {"on_leak": "drop"}], ids=str)
def test_settings_of_a_complete_dataset_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="A stream has no end"):
        new_config({"source": "svhn", **setting})


def test_the_longest_number_must_be_given_where_the_source_leaves_it_open() -> None:
    with pytest.raises(UserError, match="give --max-length"):
        new_config({"source": "table"})
    assert new_config({"source": "table", "max_length": 4}).max_length == 4
    assert new_config({"source": "mnist"}).max_length == 1


def test_flags_that_were_given_must_be_those_of_the_first_start(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, seed=7)
    check_given(stream, {"source": "svhn"})
    check_given(stream, {"source": "svhn", "seed": 7, "jitters": 5, "every": 3})
    with pytest.raises(UserError, match=r"was started with --seed 7, which cannot change: leave --seed out\..*: 8$"):
        check_given(stream, {"source": "svhn", "seed": 8})
    with pytest.raises(UserError, match=r"with --source svhn.*Received: coco"):
        check_given(stream, {"source": "coco"})


def test_the_crop_of_pictures_that_are_stored_whole_may_be_given_again(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, has_boxes=False)
    assert (stream.config.crop.crop_size, stream.config.crop.jitters) == (54, 0)
    check_given(stream, {"crop_size": 64, "jitters": 5})
    with pytest.raises(UserError, match="--record-size 54"):
        check_given(stream, {"record_size": 60})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "JSON"),
        (b'{"version": 2, "has_boxes": true, "settings": {}}', "version 1"),
        (b'{"version": 1}', "has_boxes"),
    ],
    ids=["empty", "version", "missing"],
)
def test_a_damaged_configuration_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "stream.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Stream.load(Place(tmp_path))


@pytest.mark.parametrize(
    "flags",
    [
        {"workers": "0"},
        {"pictures": 0},
        {"poll": 0.0},
        {"every": -1.0},
        {"after": "archive:"},
        {"after": "burn"},
        {"metrics_port": 0},
        {"keep_snapshots": 0},
        {"once": True, "until_idle": 3.0},
        {"input": "s3:/bucket"},
    ],
    ids=str,
)
def test_a_job_refuses_values_that_cannot_be_used(flags: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Received"):
        WatchJob(**{"source": "svhn", "input": "in", "output": "out", **flags})
