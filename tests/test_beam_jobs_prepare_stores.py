"""Datasets in stores: the same bytes as on this machine, few requests, and whatever was there before or fails since."""

import hashlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.prepare import claim, publish_dataset
from tests.failing_proxy import Proxy, Reset, Stall, Status
from tests.forked import Forked
from tests.stores import Bucket
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.files import remote, remote_write
from tfrecords.files.place import Place

OPTIONS = ["--validation-fraction", "0.2", "--jitters", "2"]
SHARD = r"tfrecord-\d{5}-of-\d{5}"
NAMED = rf"{SHARD}(\?|$)"


def prepare(source: Path, output: object, *options: str) -> int:
    arguments = ["--source", "svhn", "--input", str(source), "--output", str(output), *OPTIONS, *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments])


def digests(folder: Place) -> dict[str, str]:
    names = [name for name in [*folder.walk(), *folder.names()] if "/" not in name]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def everything(folder: Place) -> set[str]:
    """Returns the relative paths of all files of a folder, hidden ones included."""
    return set(remote.walk(folder.text)) if folder.is_dir() else set()


@pytest.fixture(scope="module")
def here(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of the dataset of this machine."""
    output = tmp_path_factory.mktemp("here") / "records"
    assert prepare(drawn, output, "--shards", "3") == 0
    return digests(Place(output))


@pytest.fixture(params=["memory", "s3"])
def output(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place for a dataset."""
    if request.param == "s3":
        yield Place(request.getfixturevalue("bucket").address) / "a folder/records"
        return
    yield Place("memory://stores/a folder/records")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def store(s3_endpoint: str, proxy: Proxy) -> Place:
    """A place in a bucket behind the proxy."""
    return Place(Bucket(s3_endpoint).address) / "records"


def test_a_store_gets_the_dataset_that_this_machine_gets(
    drawn: Path, here: dict[str, str], output: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(drawn, f"{output}/", "--shards", "3") == 0
    assert digests(output) == here and everything(output) == set(here)
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last[0].endswith(f": the dataset svhn is in {output}")
    assert last[1] == f"Next: python -m tfrecords inspect '{output}'"
    assert prepare(drawn, output, "--shards", "3") == 0
    assert "80 pictures were already prepared" in capsys.readouterr().out
    assert prepare(drawn, output, "--shards", "2") == 1
    assert "holds a dataset with other settings: give --overwrite" in capsys.readouterr().err
    # A dataset of fewer shards leaves none of the others.
    assert prepare(drawn, output, "--shards", "2", "--overwrite") == 0
    shards = {info.file for split in Manifest.load(str(output)).splits.values() for info in split.shards}
    assert {name for name in everything(output) if re.search(SHARD, name)} == shards
    assert not any(name.startswith(".") for name in everything(output))


def test_files_of_unknown_origin_or_another_purpose_stay(
    drawn: Path, output: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = output / "svhn-train.tfrecord-00000-of-00001"
    shard.write([b"somebody's"])
    assert prepare(drawn, output) == 1
    assert f"{output} holds shards without a manifest: give --overwrite" in capsys.readouterr().err
    assert everything(output) == {shard.name}
    (output / "photos" / "1.png").write([b"picture"])
    assert prepare(drawn, output, "--overwrite") == 1
    error = capsys.readouterr().err
    assert error.endswith("hold a dataset of prepare: give another --output. Received: photos\n")
    assert prepare(drawn, shard) == 1
    assert capsys.readouterr().err.startswith("error: The output must be a folder, or a place for a new one")
    assert everything(output) == {shard.name, "photos/1.png"}


def test_a_shard_is_three_requests(drawn: Path, store: Place, proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for shards in ("2", "12"):
        proxy.requests.clear()
        assert prepare(drawn, store / shards, "--shards", shards) == 0
        named = re.compile(r"(tfrecord|idx)-\d{5}-of-")
        written = [each for each in proxy.requests if each.method == "PUT" and named.search(each.target)]
        shards_there = sum(bool(re.search(SHARD, name)) for name in (store / shards).names())
        assert len(written) == 3 * shards_there
        counts.append((shards_there, proxy.count()))
    # And two to read the claim, and the result for the manifest.
    assert (counts[1][1] - counts[0][1]) / (counts[1][0] - counts[0][0]) == 5
    # What a dataset costs beside its shards.
    assert counts[0][1] - 5 * counts[0][0] <= 45


def test_a_run_that_a_store_ended_resumes_without_reading_shards(
    drawn: Path, here: dict[str, str], store: Place, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.fail(Status(403), method="PUT", contains="svhn-test.*arrow", times=-1)
    assert prepare(drawn, store, "--shards", "3") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("prepare:")]
    assert len(errors) == 1 and re.match(r"error: s3://\S+\.arrow may not be written: the key needs ", errors[0])
    assert not (store / MANIFEST).exists()
    # Somebody replaced a shard by one of the same size: it is younger than its result.
    changed = next(name for name in store.names() if "train.tfrecord" in name)
    size = len((store / changed).read_bytes())
    proxy.heal()
    while (store / changed).read_bytes()[:1] != b"?" or not _is_younger(store, changed):
        (store / changed).write([b"?" * size])
    proxy.requests.clear()
    assert prepare(drawn, store, "--shards", "3") == 0
    kept = re.search(r"(\d) shards were already complete, (\d) were written", capsys.readouterr().out)
    assert kept and (int(kept[1]), int(kept[2])) == (3, 2)
    assert proxy.count("GET", NAMED) == 0
    assert digests(store) == here and everything(store) == set(here)


def _is_younger(folder: Place, name: str) -> bool:
    """Returns whether the store states a later time for a shard than for its result: moto's clock ticks in seconds."""
    shard = remote.stated(folder.text)[name][1]
    result = remote.stated(f"{folder}/.prepare/results")[f"{name}.arrow"][1]
    return shard is not None and result is not None and shard > result


def test_failures_that_pass_change_nothing(
    drawn: Path, here: dict[str, str], store: Place, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.fail(Status(503), method="PUT", contains="train.tfrecord-00001", times=2)
    proxy.fail(Reset(), method="PUT", contains="idx-00000", times=2)
    proxy.fail(Reset(passed_on=True), method="PUT", contains="arrow")
    proxy.fail(Status(500), method="PUT", contains="manifest.json")
    proxy.fail(Reset(), method="DELETE", times=2)
    proxy.fail(Stall(0.5), method="POST")
    assert prepare(drawn, store, "--shards", "3") == 0
    assert not proxy.pending
    assert digests(store) == here and everything(store) == set(here)


@pytest.mark.parametrize("command", ["prepare", "explore"])
def test_a_store_that_takes_nothing_is_one_line_before_any_work(
    command: str, drawn: Path, store: Place, proxy: Proxy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = {"prepare": "records", "explore": "page.html"}[command]

    def error(output: str, given: Path = drawn) -> str:
        arguments = ["--source", "svhn", "--input", str(given), "--output", output]
        assert main("beam_jobs", "", COMMANDS, [command, *arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    proxy.fail(Status(403), method="PUT", times=-1)
    assert f"{store.parent}/" in error(f"{store.parent}/{name}") and not store.exists()
    assert proxy.count("PUT") == 1
    proxy.heal()
    # Before the input is looked at, which is not there.
    nothing = tmp_path / "nothing"
    assert "error: s3://no-such-bucket: there is no such bucket" in error(f"s3://no-such-bucket/{name}", nothing)
    assert error(f"nowhere://b/{name}", nothing).startswith("error: fsspec cannot reach nowhere://b")
    assert error(f"https://127.0.0.1:1/{name}", nothing).startswith("error: An output must be local or in a store")
    assert error(f"s3:/b/{name}", nothing).startswith("error: An address needs :// after its scheme")
    arguments = ["--source", "svhn", "--input", str(nothing), "--output", f"s3://b/{name}", "--s3_endpoint_url", "x"]
    assert main("beam_jobs", "", COMMANDS, [command, *arguments]) == 1
    assert "not from Beam's options: AWS_ENDPOINT_URL" in capsys.readouterr().err


def test_a_page_is_written_to_a_store(drawn: Path, output: Place, capsys: pytest.CaptureFixture[str]) -> None:
    page = output / "page.html"
    for _ in range(2):
        arguments = ["--source", "svhn", "--input", str(drawn), "--output", str(page)]
        assert main("beam_jobs", "", COMMANDS, ["explore", *arguments]) == 0
    assert everything(output) == {"page.html", "page.statistics.json"}
    out = capsys.readouterr().out
    assert f"The page is {page}, its figures are in {output}/page.statistics.json" in out
    page.write([b"somebody's"])
    assert main("beam_jobs", "", COMMANDS, ["explore", *arguments]) == 1
    assert "--output must be a new file, or a page of an earlier explore" in capsys.readouterr().err


def _run_until(source: Path, output: str, operation: int, *options: str) -> int:
    """Runs prepare, and kills itself like `kill -9` before its n-th change of the store."""
    left = operation
    attempt: Callable[..., Any] = remote.attempt

    def count(address: str, work: Any, done: str) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return attempt(address, work, done)

    vars(remote_write)["attempt"] = count
    return prepare(source, output, *options)


@pytest.mark.slow
def test_killed_at_any_change_of_the_store_no_manifest_names_shards_that_are_not_there(
    drawn: Path, here: dict[str, str], bucket: Bucket, capfd: pytest.CaptureFixture[str]
) -> None:
    output = Place(bucket.address) / "records"
    assert prepare(drawn, output, "--shards", "4", "--seed", "7") == 0
    # While it deletes the other dataset, writes the first shards and later ones, and after the manifest.
    for operation in (3, 4, 9, 16, 11):
        code, _, errors = Forked(_run_until, drawn, str(output), operation, "--shards", "3", "--overwrite").wait()
        assert code == -signal.SIGKILL, f"{operation} {errors}"
        # The owner was a process of this machine: nobody waits for it.
        assert "is claimed by" not in errors
        if (output / MANIFEST).exists():
            manifest = Manifest.load(str(output))
            shards = {info.file for split in manifest.splits.values() for info in split.shards}
            assert shards <= everything(output), operation
    assert prepare(drawn, output, "--shards", "3", "--overwrite") == 0
    assert digests(output) == here and everything(output) == set(here)


@pytest.mark.parametrize("same", [False, True], ids=["of other content", "of the same content"])
def test_an_upload_that_comes_late_of_a_run_that_lost_its_claim_is_noticed(
    same: bool, drawn: Path, store: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, shard = vars(publish_dataset)["to_parquet"], store / "svhn-train.tfrecord-00001-of-00003"

    def come_late(table: Any) -> Any:
        found = shard.read_bytes()
        while not _is_younger(store, shard.name):
            shard.write([found if same else found[::-1]])
        return write(table)

    monkeypatch.setattr(publish_dataset, "to_parquet", come_late)
    assert prepare(drawn, store, "--shards", "3") == (0 if same else 1)
    rule = f"error: {shard} must be as this run has written it, and another run has replaced it: run the command again."
    assert capsys.readouterr().err.endswith(f"{rule}\n") is not same
    assert (store / MANIFEST).exists() is same


def test_two_runs_at_once_are_one_too_many(
    drawn: Path, output: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claim, "_RENEWAL_S", 0.05)
    monkeypatch.setattr(claim, "_POLL_S", 0.05)
    place = output / ".prepare" / "claim.json"
    monkeypatch.setattr(claim, "_machine", lambda: "")
    with claim.claimed(place, "run-1", str(output)):
        assert prepare(drawn, output) == 1
        note, error = capsys.readouterr().err.splitlines()
    assert note.startswith(f"note: {output} is claimed by ")
    assert re.match(r"error: \S+@\S+ \(process \d+\) is writing to ", error)
    assert everything(output) == set()


def test_a_worker_whose_output_was_taken_over_writes_nothing_more(
    drawn: Path, output: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from beam_jobs.prepare import shard_work

    make, others = vars(shard_work)["make_shard"], claim.Claim("run-1", "somebody@elsewhere", "", 1).to_json()
    place = output / ".prepare" / "claim.json"

    def overtake(*arguments: Any) -> Any:
        place.write([others])
        return make(*arguments)

    monkeypatch.setattr(shard_work, "make_shard", overtake)
    assert prepare(drawn, output) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    rule = "must be the claim of this run: it has ended, or another one has taken its output over."
    assert error == f"error: {place} {rule}"
    assert place.read_bytes() == others
    assert everything(output) == {".prepare/claim.json", ".prepare/run.json"}
