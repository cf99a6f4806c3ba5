"""Paths on Beam's file systems, told apart without Beam, and local names in any locale."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs import filesystem
from tfrecords.errors import UserError


@pytest.mark.parametrize(
    "path", ["a", "/a/b", "gs://b/c", " s3://b", "hdfs://h:1/a", "a:/b", "1s://b", "a-b+c.d://e", "://a"]
)
def test_a_scheme_is_what_beam_takes_for_one(path: str) -> None:
    assert filesystem.is_local(path) == (FileSystems.get_scheme(path) is None)


def test_an_address_with_a_slash_too_few_is_no_local_folder() -> None:
    with pytest.raises(UserError, match=r"^An address needs :// after its scheme; .* Received: gs:/b/records$"):
        filesystem.check_file_system("gs:/b/records")


def test_addresses_are_left_to_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(filesystem, "_beam", lambda: SimpleNamespace(get_filesystem=asked.append))
    paths = ["gs://b/records", "s3://b/records", "HDFS://h:1/a", "records", "./gs:/records"]
    for path in paths:
        filesystem.check_file_system(path)
    assert asked == paths


def test_no_compression_has_beams_name() -> None:
    assert filesystem._UNCOMPRESSED == CompressionTypes.UNCOMPRESSED


def test_a_name_that_the_locale_lacks_is_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caf\u00e9_\u2116.png").write_bytes(b"picture")
    # As os.fsencode and os.fsdecode work in an ASCII locale.
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("ascii", "surrogateescape"))
    folder = f"{tmp_path}/caf".encode().decode("ascii", "surrogateescape")
    assert filesystem.read_local(f"{folder}\u00e9_\u2116.png") == b"picture"
    assert filesystem.read_local(f"{folder}\udcc3\udca9_\u2116.png") == b"picture"
