"""Local names in any locale, files of an output in any place, and options that reach nothing here."""

import os
from argparse import ArgumentParser
from pathlib import Path

import pytest
from apache_beam.options import pipeline_options

from beam_jobs import filesystem
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def test_a_name_that_the_locale_lacks_is_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "caf\u00e9_\u2116.png").write_bytes(b"picture")
    # As os.fsencode and os.fsdecode work in an ASCII locale.
    monkeypatch.setattr(os, "fsencode", lambda name: name.encode("ascii", "surrogateescape"))
    folder = f"{tmp_path}/caf".encode().decode("ascii", "surrogateescape")
    assert filesystem.read_local(f"{folder}\u00e9_\u2116.png") == b"picture"
    assert filesystem.read_local(f"{folder}\udcc3\udca9_\u2116.png") == b"picture"


def test_all_entries_of_a_folder_are_listed_hidden_ones_too(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("a", ".hidden", "sub/b"):
        bucket.put(f"records/{name}")
        (tmp_path / "records" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "records" / name).touch()
    for root in (Place(bucket.address), Place(tmp_path)):
        assert filesystem.list_names(root / "records") == [".hidden", "a", "sub"]
        assert filesystem.list_names(root / "none") == []
        with pytest.raises(UserError, match=r"^The output must be a folder, .*Not a directory"):
            filesystem.list_names(root / "records" / "a")


@pytest.mark.parametrize("kind", ["S3Options", "HadoopFileSystemOptions", "AzureOptions"])
def test_options_of_beams_own_file_systems_are_refused_with_what_does_their_work(kind: str) -> None:
    parser = ArgumentParser(add_help=False)
    getattr(pipeline_options, kind)._add_argparse_args(parser)
    options = [option for action in parser._actions for option in action.option_strings]
    assert options
    for option in options:
        with pytest.raises(UserError, match=r"^Stores take their settings from the environment, .*[A-Z]+_[A-Z]+"):
            filesystem.refuse_store_options(["--runner", "FlinkRunner", f"{option}=x"])
    filesystem.refuse_store_options(["--runner", "FlinkRunner", "--temp_location=s3://b", "--s3", "s3_verify"])
