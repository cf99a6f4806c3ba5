"""`gs://` on a server of Google Cloud Storage's protocol: datasets, runs, and objects as everything else sees them."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare import claim
from tests import tiny
from tests.cluster import downloads, jobs
from tests.cluster.conftest import FLAGS, ran, skip
from tests.cluster.gcs import GoogleBucket, serving_gcs
from tests.cluster.page import commands
from tests.cluster.versions import FAKE_GCS
from tests.forked import Forked
from tests.test_trainer_fit_resume import OPTIONS, saved_state
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.files import remote, remote_write
from tfrecords.files.google_store import EMULATOR
from tfrecords.files.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
MIB = 1 << 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server; this process uses it for gs://."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            with serving_gcs(tmp_path_factory.mktemp("gcs")) as endpoint:
                ran["Google Cloud Storage"] = f"ran, fake-gcs-server {FAKE_GCS}"
                patch.setenv(EMULATOR, endpoint)
                patch.setenv("no_proxy", "127.0.0.1")
                yield endpoint
        except downloads.Missing as error:
            skip("Google Cloud Storage", error)


@pytest.fixture
def bucket(store: str) -> GoogleBucket:
    """A new bucket."""
    return GoogleBucket(store)


def prepare(source: Path, output: str, *options: str) -> list[str]:
    return [
        "python",
        "-m",
        "beam_jobs",
        "prepare",
        "--source",
        "svhn",
        "--input",
        str(source),
        "--output",
        output,
        *options,
    ]


def tfrecords_command(*words: str) -> str:
    return jobs.check(jobs.run(["python", "-m", "tfrecords", *words])).output


def test_prepare_reads_from_and_writes_to_a_bucket_as_the_page_says(
    store: str, bucket: GoogleBucket, drawn: Path, expected_few: dict[str, str]
) -> None:
    bucket.put_folder(drawn, "svhn")
    jobs.run_block(commands("gcs", {"http://HOST:4443": store, "gs://BUCKET": bucket.address}), FLAGS)
    assert bucket.digests("svhn-records") == expected_few
    words = prepare(drawn, f"{bucket.address}/a folder/records", *FLAGS)
    jobs.check(jobs.run(words))
    assert bucket.digests("a folder/records") == expected_few
    done = jobs.check(jobs.run(words))
    assert "pictures were already prepared" in done.output and not done.errors.count("Traceback")


def test_fewer_shards_leave_no_stale_ones(bucket: GoogleBucket, drawn: Path) -> None:
    output = f"{bucket.address}/records"
    for flags in (["--shards", "6"], ["--shards", "2", "--overwrite"]):
        jobs.check(jobs.run(prepare(drawn, output, *flags)))
    shards = {info.file for split in Manifest.load(output).splits.values() for info in split.shards}
    assert {name for name in bucket.names("records") if ".tfrecord-" in name} == shards
    assert not any(name.startswith(".") for name in bucket.names("records"))


def test_a_killed_job_is_resumed(
    bucket: GoogleBucket, pictures: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    words = prepare(pictures, f"{bucket.address}/records", *FLAGS)
    first = jobs.start(words, tmp_path / "log")
    try:
        ready = "some shards"
        first.wait_until(lambda: any(".tfrecord-" in name for name in bucket.names("records")), ready, poll_s=0.02)
    finally:
        first.kill()
    assert "manifest.json" not in bucket.names("records")
    jobs.check(jobs.run(words))
    assert bucket.digests("records") == expected


def test_a_second_run_on_an_output_is_refused(
    bucket: GoogleBucket, drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claim, "_RENEWAL_S", 0.05)
    monkeypatch.setattr(claim, "_POLL_S", 0.05)
    monkeypatch.setattr(claim, "_machine", lambda: "")
    output = Place(bucket.address) / "records"
    with claim.claimed(output / ".prepare" / "claim.json", "run-1", str(output)):
        assert main("beam_jobs", "", COMMANDS, prepare(drawn, str(output))[3:]) == 1
        error = capsys.readouterr().err
    assert "error: " in error and f" is writing to {output}" in error
    assert bucket.names("records") == []


def test_other_commands_print_of_a_bucket_what_they_print_of_a_folder(
    bucket: GoogleBucket, records: Path, drawn: Path
) -> None:
    bucket.put_folder(records, "svhn")
    address = f"{bucket.address}/svhn"
    for command in ("inspect", "validate"):
        assert tfrecords_command(command, address) == tfrecords_command(command, str(records)).replace(
            str(records), address
        )
    tfrecords_command("show", address, "--count", "4", "--output", f"{bucket.address}/sheet.png")
    assert bucket.get("sheet.png").startswith(b"\x89PNG")
    assert "0 files have no index" in tfrecords_command("index", address)
    here, there = tfrecords.open(records, "train"), tfrecords.open(address, "train")
    assert [there[index].text for index in range(5)] == [here[index].text for index in range(5)]
    bucket.put_folder(drawn, "pictures")
    words = ["--input", f"{bucket.address}/pictures", "--output", f"{bucket.address}/pages/page.html"]
    jobs.check(jobs.run(["python", "-m", "beam_jobs", "explore", "--source", "svhn", *words]))
    assert b"<html" in bucket.get("pages/page.html")[:500]


def test_what_is_missing_is_named(bucket: GoogleBucket, records: Path) -> None:
    missing = "gs://no-bucket: there is no such bucket, or no right to see it. Received: gs://no-bucket/"
    no_dataset = f"{bucket.address}/none is not a dataset directory: it has no manifest.json"
    for words, error in (
        (["inspect", f"{bucket.address}/none"], no_dataset),
        (["inspect", "gs://no-bucket/none"], missing),
        (["show", str(records), "--output", "gs://no-bucket/a.png"], missing),
    ):
        done = jobs.run(["python", "-m", "tfrecords", *words])
        assert done.code == 1 and done.errors.startswith(f"error: {error}"), done.errors
        assert done.errors.count("\n") == 1


def test_objects_are_written_listed_and_deleted_by_their_names(bucket: GoogleBucket) -> None:
    folder = Place(bucket.address) / "a b"
    for name in ("x#1?.png", "empty", "[1]*/ü.txt"):
        (folder / name).write([b"" if name == "empty" else b"con", b"" if name == "empty" else b"tent"])
        assert bucket.get(f"a b/{name}") == (b"" if name == "empty" else b"content")
    assert list(folder.walk()) == ["[1]*/ü.txt", "empty", "x#1?.png"] and folder.names() == ["empty", "x#1?.png"]
    assert remote.read_bytes((folder / "x#1?.png").text, 1, 4) == b"ont"
    size, first = remote.version((folder / "empty").text)
    (folder / "empty").write([b"more"])
    assert size == 0 and remote.version((folder / "empty").text) != (4, first)
    folder.delete_names(["empty", "none"])
    assert not (folder / "empty").exists() and folder.is_dir() and not folder.is_file()
    (folder / "[1]*").delete_folder()
    assert bucket.names("a b") == ["x#1?.png"]
    folder.delete_folder()
    assert bucket.names("a b") == [] and not folder.exists()
    folder.delete_folder()


def test_one_of_several_creates_a_file(bucket: GoogleBucket) -> None:
    place = Place(bucket.address) / "claim.json"
    assert [place.create(data) for data in (b"first", b"second")] == [True, False]
    assert bucket.get("claim.json") == b"first"


def test_a_large_file_is_sent_in_parts_and_appears_whole_or_not_at_all(
    bucket: GoogleBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_write, "_LARGE_BYTES", 2 * MIB)
    monkeypatch.setattr(remote_write, "_PART_BYTES", MIB)
    chunks = [bytes([number]) * MIB for number in range(5)]
    place = Place(bucket.address) / "large"

    def broken() -> Iterator[bytes]:
        yield from chunks
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        place.write(broken())
    assert not place.exists()
    place.write(chunks)
    assert bucket.get("large") == b"".join(chunks)


def test_gcsfs_asks_no_server_but_googles_for_zonal_buckets(store: str) -> None:
    system: Any = remote.file_system("gs://bucket")
    assert type(system).__module__ == "gcsfs.core", "it takes up to 60 s for each object"
    assert system.credentials.token == "anon"


def test_a_run_in_a_bucket_killed_and_resumed_elsewhere_is_that_of_a_local_folder(
    bucket: GoogleBucket, store: str, records: Path, tmp_path: Path
) -> None:
    bucket.put_folder(records, "records")
    data, run_dir, local = f"{bucket.address}/records", f"{bucket.address}/runs/first", tmp_path / "local"
    often = ["--checkpoint-steps", "3", "--keep-checkpoints", "2", "--deterministic", *OPTIONS]
    local_words = ["train", "--data", str(records), "--run-dir", str(local), "--cache", str(tmp_path / "none")]
    code, _, errors = Forked(tiny.run, [*local_words, *often], "").wait()
    assert code == 0, errors
    for kill in ("steps:6", ""):
        words = ["train", "--data", data, "--run-dir", run_dir, "--cache", str(tmp_path / f"cache{kill[:5]}"), *often]
        code, output, errors = Forked(tiny.run, words, kill, **{EMULATOR: store, "no_proxy": "127.0.0.1"}).wait()
        assert code == (-signal.SIGKILL if kill else 0), errors
    assert "Resuming after step " in output
    found = tmp_path / "found"
    for name in bucket.names("runs/first"):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).write_bytes(bucket.get(f"runs/first/{name}"))
    assert saved_state(found) == saved_state(local)
