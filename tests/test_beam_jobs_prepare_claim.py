"""Claims on outputs in stores: one run at a time, and none that a killed run keeps for ever."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from beam_jobs.prepare import claim
from beam_jobs.prepare.claim import Claim, claimed
from tests.failing_proxy import Proxy, Reset
from tests.forked import Forked
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place


@pytest.fixture
def place(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place for a claim, with waits that a test can wait for."""
    for name, seconds in (("_RENEWAL_S", 0.1), ("_LEASE_S", 1.0), ("_POLL_S", 0.05)):
        monkeypatch.setattr(claim, name, seconds)
    return Place(bucket.address) / "records" / ".prepare" / "claim.json"


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


def _lose_claim(place: Place) -> int:
    claim._RENEWAL_S = 0.1
    with claimed(place, "run-2", "s3://b/records"):
        for _ in range(300):  # it may be renewed between two of them
            place.write([ELSEWHERE.to_json()])
            time.sleep(0.1)
    return 0


def test_a_run_whose_claim_was_taken_over_ends_with_one_line(place: Place) -> None:
    code, _, errors = Forked(_lose_claim, place).wait()
    assert code == 1
    line = "somebody@elsewhere has taken over s3://b/records, since this run did not renew its claim in time."
    assert errors == f"error: {line}\n"
    assert place.read_bytes() == ELSEWHERE.to_json()
