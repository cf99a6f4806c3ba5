"""A power cut at any moment of `prepare`: a manifest on the disk names only files that are there, whole."""

import hashlib
import json
from pathlib import Path

import pytest

from beam_jobs.__main__ import COMMANDS
from tests.forgetful import ForgetfulDisk
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST, Manifest
from tfrecords.files.index import index_path


def _prepare(source: Path, output: Path, *options: str) -> None:
    command = ["prepare", "--source", "svhn", "--input", str(source / "test"), "--output", str(output), *options]
    assert main("beam_jobs", "", COMMANDS, [*command, "--jitters", "0", "--shards", "2"]) == 0


def _is_whole(files: dict[str, bytes], folder: str) -> bool:
    """Returns whether a dataset directory has everything that its manifest names."""
    manifest = Manifest.parse(files[f"{folder}/{MANIFEST}"], MANIFEST)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    digests = {**{shard.file: shard.sha256 for shard in shards}, **manifest.files}
    found = {name: hashlib.sha256(files.get(f"{folder}/{name}", b"")).hexdigest() for name in digests}
    return found == digests and all(files.get(f"{folder}/{index_path(shard.file)}") for shard in shards)


def test_a_manifest_on_the_disk_names_only_whole_files(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the dataset of another seed is replaced, whose shards have the same names."""
    seen: list[tuple[int, bool]] = []

    def look() -> None:
        files = disk.files()
        if data := files.get(f"out/{MANIFEST}"):
            seen.append((json.loads(data)["seed"], _is_whole(files, "out")))

    disk = ForgetfulDisk(tmp_path, monkeypatch, look)
    for seed in (1, 2):
        _prepare(drawn, tmp_path / "out", "--seed", str(seed), "--overwrite")
        output = {str(path.relative_to(tmp_path)): path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
        assert output.items() <= disk.files().items()
    assert {seed for seed, _ in seen} == {1, 2}
    assert all(whole for _, whole in seen)
