"""The commands of tfrecords on datasets in a bucket: the same output as on this machine, or a refusal in one line."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfrecords
from tests.failing_proxy import Cut, Proxy, Reset, Status
from tests.stores import Bucket
from tfrecords import Manifest, UserError
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.files.index import index_path

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, and checks that it makes no folder that is called as a scheme."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def call(*argv: object) -> tuple[int, str, str]:
        try:
            code = main("tfrecords", "", COMMANDS, [str(word) for word in argv])
        except SystemExit as end:
            code = int(str(end.code))
        assert not [path.name for path in folder.iterdir() if path.name.endswith(":")]
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def remote(records: Path, bucket: Bucket) -> str:
    """The drawn dataset in a bucket."""
    bucket.put_folder(records, "data/svhn")
    return f"{bucket.address}/data/svhn"


def test_inspect_and_validate_print_what_they_print_of_a_folder(records: Path, remote: str, run: Run) -> None:
    def without_progress(errors: str) -> list[str]:
        return [line for line in errors.splitlines() if not re.match(r"validate: \d+ %", line)]

    for command in ("inspect", "validate"):
        code, out, err = run(command, records)
        found, found_out, found_err = run(command, f"{remote}/")
        assert (found, found_out) == (code, out.replace(str(records), remote)) and code == 0
        assert without_progress(found_err) == without_progress(err)


def test_validate_names_every_error_by_its_address(remote: str, bucket: Bucket, run: Run) -> None:
    first, second, third = (shard.file for shard in Manifest.load(remote).split("train").shards[:3])
    key = f"data/svhn/{first}"
    data = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
    bucket.put(key, data[:5000] + b"!" + data[5001:])
    bucket.client.delete_object(Bucket=bucket.name, Key=f"data/svhn/{second}")
    bucket.put(f"data/svhn/{index_path(third)}", b"0 17\n")
    bucket.put(f"data/svhn/{first}.old", b"")
    bucket.put("data/svhn/annotations.parquet", b"none")
    code, _, out = run("validate", remote, "--max-errors", 100)
    assert code == 1
    for line in (
        f"error: {remote}/{first}: its SHA-256 differs from the manifest's",
        f"error: {remote}/{second}: missing",
        f"error: {remote}/{first}.old: a shard that is not in the manifest",
        f"error: {remote}/annotations.parquet: its SHA-256 differs from the manifest's",
        f"error: {remote}/annotations.parquet must be a Parquet file.",
        f"error: {remote}/{index_path(third)}: not the index of {third}; "
        f"`python -m tfrecords index {remote}/{third} --overwrite` rewrites it",
    ):
        assert line in out
    assert re.search(rf"error: {remote}/{first}\S* .*checksum is wrong", out)


def test_validate_goes_on_through_failures_of_the_store(
    records: Path, proxy: Proxy, s3_endpoint: str, run: Run
) -> None:
    bucket = Bucket(s3_endpoint)
    bucket.put_folder(records, "svhn")
    for failure in (Status(503), Reset(), Cut(1000)):
        proxy.fail(failure, method="GET", contains="tfrecord", skip=1)
    assert run("validate", f"{bucket.address}/svhn")[0] == 0
    assert not proxy.pending


def test_show_reads_from_and_writes_to_a_bucket(
    records: Path, remote: str, bucket: Bucket, run: Run, tmp_path: Path
) -> None:
    assert run("show", records, "--count", 5, "--output", tmp_path / "sheet.png")[0] == 0
    code, out, _ = run("show", remote, "--count", 5, "--output", f"{bucket.address}/sheets/sheet.png")
    assert code == 0 and f"in {bucket.address}/sheets/sheet.png (" in out
    sheet = bucket.client.get_object(Bucket=bucket.name, Key="sheets/sheet.png")["Body"].read()
    assert sheet == (tmp_path / "sheet.png").read_bytes()
    assert Image.open(io.BytesIO(sheet)).format == "PNG"
    code, _, err = run("show", records, "--output", "https://127.0.0.1:9/sheet.png")
    assert code == 1 and err.startswith("error: An output must be local or in a store, as s3:// or gs://")


def test_index_writes_next_to_the_file_in_the_bucket(records: Path, remote: str, bucket: Bucket, run: Run) -> None:
    shards = [shard.file for split in Manifest.load(records).splits.values() for shard in split.shards]
    for shard in shards:
        bucket.client.delete_object(Bucket=bucket.name, Key=f"data/svhn/{index_path(shard)}")
    counts = f"{len(shards)} indexes written, 0 existing indexes are correct, 0 files have no index\n"
    assert run("index", remote)[:2] == (0, counts)
    for shard in shards:
        index = bucket.client.get_object(Bucket=bucket.name, Key=f"data/svhn/{index_path(shard)}")["Body"].read()
        assert index == (records / index_path(shard)).read_bytes()
    bucket.put(f"data/svhn/{index_path(shards[0])}", b"0 17\n")
    code, _, out = run("index", f"{remote}/{shards[0]}")
    assert code == 1 and f"{remote}/{index_path(shards[0])} is not the index of {remote}/{shards[0]}: give" in out
    assert run("index", f"{remote}/{shards[0]}", "--overwrite")[0] == 0
    code, _, err = run("index", f"{remote}/nothing")
    rule = "PATH must be a TFRecord file or a folder of TFRecord files."
    assert (code, err) == (1, f"error: {rule} Received: {remote}/nothing\n")


def test_export_reads_a_bucket_and_writes_a_local_folder(records: Path, remote: str, run: Run, tmp_path: Path) -> None:
    for source, name in ((records, "here"), (remote, "there")):
        options = ("--to", "parquet", "--split", "test", "--jobs", 1, "--output", tmp_path / f"{name}-parquet")
        assert run("export", source, *options)[0] == 0
    here, there = (pq.read_table(tmp_path / f"{name}-parquet" / "data") for name in ("here", "there"))
    assert here.equals(there)
    for output in (f"{remote}/parquet", "s3:/bucket/parquet", "s3:parquet"):
        code, _, err = run("export", remote, "--to", "parquet", "--output", output)
        assert code == 2 and err.count("\n") == 1 and f"Received: {output} " in err


@pytest.mark.parametrize("typo", ["s3:/bucket/svhn", "gs:svhn"])
def test_a_mistyped_address_is_refused_by_every_command(typo: str, run: Run) -> None:
    for argv in (
        ["inspect", typo],
        ["validate", typo],
        ["index", typo],
        ["show", typo, "--output", "a.png"],
        ["show", "svhn", "--output", f"{typo}.png"],
        ["export", typo, "--to", "arrow", "--output", "out"],
    ):
        code, _, err = run(*argv)
        assert code == 2 and err.count("\n") == 1 and "An address needs :// after its scheme" in err, argv
    for door in (Manifest.load, tfrecords.RecordFile, lambda typo: tfrecords.open(typo, "train")):
        with pytest.raises(UserError, match="An address needs ://"):
            door(typo)


def test_a_bucket_without_the_dataset_is_one_line(bucket: Bucket, run: Run) -> None:
    for command in ("inspect", "validate", "show --output a.png", "export --to arrow --output a"):
        name, *options = command.split()
        code, _, err = run(name, f"{bucket.address}/none", *options)
        assert code == 1 and err.startswith(f"error: {bucket.address}/none is not a dataset directory: "), command
        assert err.count("\n") == 1
