"""Downloads against a real server on the loopback interface that fails in the ways servers do."""

import hashlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from beam_jobs.download.archives import Archive
from beam_jobs.download.fetch import FetchPolicy, bytes_received, fetch
from tests.forgetful import ForgetfulDisk
from tests.loopback import TAKE_INTERRUPTS, Server, serving
from tfrecords.errors import UserError

PATH = "/train.tar.gz"
BODY = bytes(range(256)) * 2000  # 512,000 bytes: several chunks
POLICY = FetchPolicy(timeout_s=5.0, attempts=3, first_pause_s=0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving({PATH: BODY}, monkeypatch) as running:
        yield running


def url(server: Server) -> str:
    return server.url + PATH


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


ARCHIVE = Archive(len(BODY), digest(BODY), pictures=1)


def leave_partial(folder: Path, body: bytes, origin: str | None = None) -> Path:
    (folder / "train.tar.gz.partial").write_bytes(body)
    if origin is not None:
        (folder / "train.tar.gz.partial.json").write_text(origin)
    return folder / "train.tar.gz"


def test_a_file_arrives_complete_and_nothing_else_remains(server: Server, tmp_path: Path) -> None:
    positions: list[int] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY, positions.append)
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["train.tar.gz"]
    assert server.conditions == [(None, None)]
    assert positions[0] == 0
    assert positions[-1] == len(BODY)
    assert positions == sorted(positions)


def test_a_downloaded_file_is_on_the_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = ForgetfulDisk(tmp_path, monkeypatch)
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert disk.files()["train.tar.gz"] == (tmp_path / "train.tar.gz").read_bytes()


def test_an_existing_file_is_checked_and_not_requested(server: Server, tmp_path: Path) -> None:
    (tmp_path / "train.tar.gz").write_bytes(BODY)
    positions: list[int] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY, positions.append)
    assert server.conditions == []
    assert positions == [len(BODY)]


def test_another_file_at_the_destination_is_an_error_and_stays(server: Server, tmp_path: Path) -> None:
    (tmp_path / "train.tar.gz").write_bytes(b"mine")
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert str(caught.value) == (
        f"{tmp_path}/train.tar.gz: must have 512000 bytes and SHA-256 {digest(BODY)}; move it away to "
        f"download it again. Received: 4 bytes and SHA-256 {digest(b'mine')}"
    )
    assert (tmp_path / "train.tar.gz").read_bytes() == b"mine"


@pytest.mark.parametrize("resets", [False, True], ids=["connections end cleanly", "connections are reset"])
def test_several_cuts_are_resumed_each_with_a_range_for_the_rest(server: Server, tmp_path: Path, resets: bool) -> None:
    server.cuts, server.resets = [100_000, 150_000, 7, 200_000], resets
    notices: list[str] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY, on_notice=notices.append)
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY
    assert len(server.asked) == len(notices) + 1 == 5
    if not resets:  # A reset may throw away what had not been read.
        assert server.conditions == [
            (None, None),
            ("bytes=100000-", '"v1"'),
            ("bytes=250000-", '"v1"'),
            ("bytes=250007-", '"v1"'),
            ("bytes=450007-", '"v1"'),
        ]
        assert notices[0] == (
            f"{url(server)}: the connection ended at byte 100000 of 512000; resuming from byte 100000 in 0.001 s"
        )


def test_a_silent_server_counts_as_cut_after_the_timeout(server: Server, tmp_path: Path) -> None:
    server.cuts, server.stalls = [70_000], True
    notices: list[str] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", FetchPolicy(0.2, 3, 0.001), on_notice=notices.append)
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY
    assert re.search(r": timed out; resuming from byte \d+ in 0.001 s$", notices[0])


def test_a_new_process_resumes_after_an_interrupted_one(server: Server, tmp_path: Path) -> None:
    server.cuts, server.stalls = [300_000], True
    code = (
        "import sys; from pathlib import Path; from beam_jobs.download.fetch import fetch\n"
        f"{TAKE_INTERRUPTS}\n"
        "from beam_jobs.download.archives import Archive\n"
        "fetch(sys.argv[1], Archive(int(sys.argv[2]), sys.argv[3], 1), Path(sys.argv[4]))"
    )
    command = [sys.executable, "-c", code, url(server), str(len(BODY)), digest(BODY), str(tmp_path / "train.tar.gz")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 40
        while bytes_received(tmp_path / "train.tar.gz") < 200_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=40)
    assert "KeyboardInterrupt" in stderr
    at_hand = bytes_received(tmp_path / "train.tar.gz")
    assert 200_000 <= at_hand <= 300_000
    assert not (tmp_path / "train.tar.gz").exists()
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert server.conditions == [(None, None), (f"bytes={at_hand}-", '"v1"')]
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY


def test_a_server_without_ranges_starts_from_zero(server: Server, tmp_path: Path) -> None:
    server.has_ranges, server.cuts = False, [100_000, 300_000]
    positions: list[int] = []
    notices: list[str] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY, positions.append, notices.append)
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY
    assert server.ranges == [None, "bytes=100000-", "bytes=300000-"]
    assert positions.count(0) == 3
    assert notices[1] == f"{url(server)}: the server sends the complete file again; starting from byte 0"


def test_a_server_that_always_starts_from_zero_and_cuts_is_given_up(server: Server, tmp_path: Path) -> None:
    server.has_ranges, server.cuts = False, [100_000] * 10
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert str(caught.value) == (
        f"{url(server)}: must send new bytes within 3 attempts; 100000 bytes are kept, and the same command "
        "resumes. Received: the connection ended at byte 100000 of 512000"
    )
    assert len(server.asked) == 4


def test_a_file_that_changed_between_attempts_is_fetched_from_zero(server: Server, tmp_path: Path) -> None:
    destination = leave_partial(tmp_path, b"old" * 1000, f'{{"url": "{url(server)}", "etag": "\\"v0\\""}}')
    fetch(url(server), ARCHIVE, destination, POLICY)
    assert server.conditions == [("bytes=3000-", '"v0"')]
    assert destination.read_bytes() == BODY


def test_a_change_without_a_tag_is_found_by_the_digest(server: Server, tmp_path: Path) -> None:
    server.etag = None
    destination = leave_partial(tmp_path, b"old" * 1000)
    mixed = b"old" * 1000 + BODY[3000:]
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, destination, POLICY)
    assert str(caught.value) == (
        f"{url(server)}: must have 512000 bytes and SHA-256 {digest(BODY)}; the received bytes are deleted. "
        f"Received: 512000 bytes and SHA-256 {digest(mixed)}"
    )
    assert server.conditions == [("bytes=3000-", None)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "origin",
    ['{"url": "http://127.0.0.1:1/train.tar.gz", "etag": "\\"v0\\""}', "{", "[]", "{}", "[" * 100_000],
    ids=["another mirror", "half a file", "a list", "nothing in it", "deep lists"],
)
def test_bytes_of_unknown_origin_are_resumed_without_a_condition(server: Server, tmp_path: Path, origin: str) -> None:
    destination = leave_partial(tmp_path, BODY[:3000], origin)
    fetch(url(server), ARCHIVE, destination, POLICY)
    assert server.conditions == [("bytes=3000-", None)]
    assert destination.read_bytes() == BODY


def test_a_weak_tag_is_no_condition(server: Server, tmp_path: Path) -> None:
    server.etag, server.cuts = 'W/"v1"', [100_000]
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert server.conditions == [(None, None), ("bytes=100000-", None)]


def test_another_range_than_asked_for_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.content_range = ["bytes 0-511999/512000"]
    destination = leave_partial(tmp_path, BODY[:3000])
    notices: list[str] = []
    fetch(url(server), ARCHIVE, destination, POLICY, on_notice=notices.append)
    assert destination.read_bytes() == BODY
    assert server.ranges == ["bytes=3000-", None]
    assert notices == [
        f"{url(server)}: requested the bytes from 3000, received Content-Range 'bytes 0-511999/512000'; "
        "resuming from byte 0 in 0.001 s"
    ]


def test_wrong_bytes_of_the_right_size_are_discarded(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = b"?" * len(BODY)
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert str(caught.value) == (
        f"{url(server)}: must have 512000 bytes and SHA-256 {digest(BODY)}; the received bytes are deleted. "
        f"Received: 512000 bytes and SHA-256 {digest(server.files[PATH])}"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [511_999, 512_001], ids=["a byte less", "a byte more"])
@pytest.mark.parametrize("at_hand", [0, 3000], ids=["from zero", "resumed"])
def test_a_server_with_another_size_is_refused_before_a_byte_is_written(
    server: Server, tmp_path: Path, size: int, at_hand: int
) -> None:
    server.files[PATH] = bytes(size)
    destination = leave_partial(tmp_path, BODY[:at_hand])
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, destination, POLICY)
    assert str(caught.value) == f"{url(server)}: must have 512000 bytes. Received: {size} bytes"
    assert bytes_received(destination) == at_hand


def test_a_range_beyond_the_servers_end_is_an_error(server: Server, tmp_path: Path) -> None:
    server.files[PATH] = BODY[:2000]
    destination = leave_partial(tmp_path, BODY[:3000])
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, destination, POLICY)
    phrase = HTTPStatus(416).phrase  # Python 3.13 words it otherwise
    assert str(caught.value) == (
        f"{url(server)}: must have 512000 bytes. Received: 416 {phrase} for a request from byte 3000"
    )


def test_a_long_body_of_unstated_length_is_discarded(server: Server, tmp_path: Path) -> None:
    server.states_length, server.files[PATH] = False, BODY + b"more"
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert str(caught.value) == (
        f"{url(server)}: must have 512000 bytes and SHA-256 {digest(BODY)}; the received bytes are deleted. "
        f"Received: 512004 bytes and SHA-256 {digest(BODY + b'more')}"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_short_body_of_unstated_length_is_given_up(server: Server, tmp_path: Path) -> None:
    server.states_length, server.has_ranges, server.files[PATH] = False, False, BODY[:-1]
    with pytest.raises(UserError, match=r"Received: the connection ended at byte 511999 of 512000$"):
        fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)


def test_a_complete_body_before_a_silent_end_is_complete(server: Server, tmp_path: Path) -> None:
    server.states_length, server.cuts, server.stalls = False, [len(BODY)], True
    notices: list[str] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", FetchPolicy(0.2, 3, 0.001), on_notice=notices.append)
    assert notices == []
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY


def test_a_partial_file_that_is_too_long_is_discarded_without_a_request(server: Server, tmp_path: Path) -> None:
    destination = leave_partial(tmp_path, BODY + b"more")
    with pytest.raises(
        UserError, match=r"the received bytes are deleted\. Received: 512004 bytes and SHA-256 [0-9a-f]{64}$"
    ):
        fetch(url(server), ARCHIVE, destination, POLICY)
    assert server.conditions == []
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_of_full_length_is_checked_without_a_request(server: Server, tmp_path: Path) -> None:
    destination = leave_partial(tmp_path, BODY)
    fetch(url(server), ARCHIVE, destination, POLICY)
    assert server.conditions == []
    assert destination.read_bytes() == BODY


def test_a_missing_file_is_an_error_without_a_retry(server: Server, tmp_path: Path) -> None:
    server.statuses = [404] * 5
    with pytest.raises(UserError) as caught:
        fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY)
    assert str(caught.value) == f"{url(server)}: must answer 200 or 206. Received: 404 Not Found"
    assert len(server.asked) == 1


def test_an_overloaded_server_is_retried(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 502]
    notices: list[str] = []
    fetch(url(server), ARCHIVE, tmp_path / "train.tar.gz", POLICY, on_notice=notices.append)
    assert (tmp_path / "train.tar.gz").read_bytes() == BODY
    assert notices == [
        f"{url(server)}: 503 Service Unavailable; resuming from byte 0 in 0.001 s",
        f"{url(server)}: 502 Bad Gateway; resuming from byte 0 in 0.002 s",
    ]


def test_an_absent_server_is_given_up_after_some_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/train.tar.gz"
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(UserError, match=r"within 6 attempts; 0 bytes are kept.*Received: \[Errno \d+\] .*refused$"):
        fetch(url, Archive(10, "0" * 64, 1), tmp_path / "train.tar.gz", FetchPolicy(longest_pause_s=5))
    assert pauses == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a/b", "http:///b", "a/b", "http://[::1/b", "http://a:x/b", "http://a/b c"]
)
def test_only_http_addresses_are_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError) as caught:
        fetch(url, Archive(10, "0" * 64, 1), tmp_path / "train.tar.gz", POLICY)
    assert str(caught.value) == (
        f"A download address must be http:// or https://, a host and a path without spaces. Received: {url}"
    )
