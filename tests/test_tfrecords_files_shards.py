"""Shard names and the manifest."""

import json
from pathlib import Path

import pytest

from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.files.shards import ShardName


def test_a_shard_s_name_is_the_one_that_tfds_reads() -> None:
    name = ShardName("svhn", "train", 3, 64)
    assert str(name) == "svhn-train.tfrecord-00003-of-00064"
    assert ShardName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["svhn-train.tfrecord", "svhn.tfrecord-00000-of-00001", "A-b.tfrecord-00000-of-00001"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=rf"Received: {text}$"):
        ShardName.parse(text)


def test_a_shard_after_the_last_is_refused() -> None:
    with pytest.raises(UserError, match="INDEX below COUNT"):
        ShardName("svhn", "train", 4, 4)


def test_a_manifest_comes_back_equal(records: Path) -> None:
    manifest = Manifest.load(records)
    assert Manifest.parse(manifest.to_json().encode(), "again") == manifest
    assert manifest.to_json() == (records / MANIFEST).read_text()


def test_a_directory_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a dataset directory: it has no manifest\.json"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 3}, r"version reads the schema versions 1 and 2\. Received: 3"),
        ({"surprise": 1}, r"json must have exactly the fields name, .*unknown \['surprise'\]"),
        ({"splits": 5}, r"json: splits must be an object\. Received: 5"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    records: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    content = json.loads((records / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match=message):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}"])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=r"must be a JSON object with a schema_version\. Received: "):
        Manifest.load(tmp_path)


def test_an_unknown_split_is_named(records: Path) -> None:
    with pytest.raises(UserError, match=r"has the splits test, validation, train\. Received: extra|Received: extra"):
        Manifest.load(records).split("extra")
