"""Claims on outputs in stores: one run at a time, and none that a killed run keeps for ever."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from beam_jobs.prepare import claim
from beam_jobs.prepare.claim import Claim, claimed
from tests.failing_proxy import Proxy, Reset, Stall, Status
from tests.forked import Forked
from tests.stores import REGION, Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place


@pytest.fixture
def place(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place for a claim, with waits that a test can wait for."""
    for name, seconds in (("_RENEWAL_S", 0.1), ("_LEASE_S", 1.0), ("_POLL_S", 0.05)):
        monkeypatch.setattr(claim, name, seconds)
    return Place(bucket.address) / "records" / ".prepare" / "claim.json"


def put(endpoint: str, place: Place, data: bytes) -> None:
    """Writes an object past the proxy, as another machine does."""
    bucket, _, key = place.text.partition("://")[2].partition("/")
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name=REGION
    )
    client.put_object(Bucket=bucket, Key=key, Body=data)


ELSEWHERE = Claim("run-1", "somebody@elsewhere", "another machine", 12)


def test_a_claim_is_there_while_its_block_runs_and_is_renewed(place: Place) -> None:
    with claimed(place, "run-2", "s3://b/records"):
        first = place.read_bytes()
        deadline = time.monotonic() + 20
        while place.read_bytes() == first and time.monotonic() < deadline:
            time.sleep(0.05)
        found = claim._parse(place.read_bytes(), place)
        assert found and found.run == "run-2" and found.renewals > 0
    assert not place.exists()


def test_a_second_run_is_refused_with_the_name_of_the_first(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    place.write([ELSEWHERE.to_json()])

    def renew() -> None:
        for number in range(1, 1000):
            if stop.wait(0.1):
                return
            place.write([replace(ELSEWHERE, renewals=number).to_json()])

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(UserError) as caught, claimed(place, "run-2", "s3://b/records"):
            pass
    finally:
        stop.set()
        thread.join()
    assert str(caught.value) == (
        "somebody@elsewhere (process 12) is writing to s3://b/records: wait until that run has finished, stop it, "
        f"or give another --output. Its claim is {place}."
    )
    assert capsys.readouterr().err.startswith("note: s3://b/records is claimed by somebody@elsewhere (process 12)")
    assert place.exists()


@pytest.mark.parametrize("left", [ELSEWHERE.to_json(), b"", b"[1]"], ids=["of another machine", "empty", "damaged"])
def test_a_claim_that_nobody_renews_is_taken_over(place: Place, left: bytes) -> None:
    place.write([left])
    with claimed(place, "run-2", "s3://b/records"):
        found = claim._parse(place.read_bytes(), place)
        assert found and found.run == "run-2"


def test_a_claim_of_a_dead_process_of_this_machine_is_taken_over_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    monkeypatch.setattr(claim, "_LEASE_S", 1000.0)
    place.write([replace(Claim.of_this_process("run-1"), process=process.pid).to_json()])
    with claimed(place, "run-2", "s3://b/records"):
        pass
    assert capsys.readouterr().err == ""
    if Path("/proc/self/ns/pid").exists():
        alive = replace(Claim.of_this_process("run-1"), process=1)
        assert not alive.is_dead and not replace(alive, machine="").is_dead


def test_an_answer_that_was_lost_is_no_other_run(
    place: Place, s3_endpoint: str, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.fail(Reset(passed_on=True), method="PUT")
    with claimed(place, "run-2", "s3://b/records"):
        assert not proxy.pending
    assert capsys.readouterr().err == ""


def test_a_renewal_that_was_paused_does_not_take_the_claim_back(
    place: Place, s3_endpoint: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []
    monkeypatch.setattr(claim, "end_process", lambda line, code: ends.append(line))
    # Long enough between the look at the claim and its renewal for another run to come.
    proxy.fail(Stall(1.0), method="PUT", skip=1)
    with claimed(place, "run-2", "s3://b/records"):
        deadline = time.monotonic() + 20
        while proxy.count("PUT") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        put(s3_endpoint, place, ELSEWHERE.to_json())
        while not ends and time.monotonic() < deadline:
            time.sleep(0.05)
    assert ends and place.read_bytes() == ELSEWHERE.to_json()


def test_of_two_runs_that_wait_for_the_same_owner_one_gets_its_claim(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two machines: on one, a claim of this very process would be an earlier run's.
    monkeypatch.setattr(claim, "_machine", lambda: "")
    # Long enough for a renewal on a busy machine.
    monkeypatch.setattr(claim, "_LEASE_S", 3.0)
    place.write([ELSEWHERE.to_json()])
    got: list[str] = []
    refused: list[str] = []
    end = threading.Event()

    def run(name: str) -> None:
        try:
            with claimed(place, name, "s3://b/records"):
                got.append(name)
                end.wait(20)
        except UserError as error:
            refused.append(str(error))
            end.set()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("run-2", "run-3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(refused) == 1 and "is writing to s3://b/records" in refused[0]


def test_an_error_of_the_block_is_not_hidden_by_a_store_that_fails(
    place: Place, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"^the block's"), claimed(place, "run-2", "s3://b/records"):
        proxy.fail(Status(403), times=-1)
        raise UserError("the block's")
    assert capsys.readouterr().err.startswith(f"warning: {place} is left: the next run there waits")


def _lose_claim(place: Place, by: bytes | None) -> int:
    claim._RENEWAL_S = 0.1
    with claimed(place, "run-2", "s3://b/records"):
        for _ in range(300):  # it may be renewed between two of them
            if by is None:
                place.delete()
            else:
                place.write([by])
            time.sleep(0.1)
    return 0


@pytest.mark.parametrize("by", [ELSEWHERE.to_json(), None], ids=["and works", "and has finished"])
def test_a_run_whose_claim_was_taken_over_ends_with_one_line(place: Place, by: bytes | None) -> None:
    code, _, errors = Forked(_lose_claim, place, by).wait()
    who = "somebody@elsewhere" if by else "another run"
    line = f"{who} has taken over s3://b/records, since this run did not renew its claim in time."
    assert (code, errors) == (1, f"error: {line}\n")
    assert not place.exists() if by is None else place.read_bytes() == by
