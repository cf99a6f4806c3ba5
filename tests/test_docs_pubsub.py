"""The script in the documentation that copies messages of Pub/Sub, with a subscription in memory."""

import contextlib
import importlib.util
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from beam_jobs.watch.inboxes.lines import LinesInbox
from beam_jobs.watch.ledger import Ledger
from tests.messages import cycle, message, texts
from tfrecords.files.place import Place

SCRIPT = Path(__file__).parents[1] / "docs" / "pubsub_spool.py"


class Killed(Exception):
    """The script was killed."""


class Subscription:
    """Messages that are delivered until they are acknowledged."""

    def __init__(self, values: list[bytes]) -> None:
        self.waiting = {str(index): value for index, value in enumerate(values)}
        self.kill_at_acknowledgement = False
        self.when_acknowledged: Callable[[], None] = lambda: None

    def pull(self, request: dict[str, Any], timeout: float) -> Any:
        found = list(self.waiting.items())[: request["max_messages"]]
        received = [
            SimpleNamespace(ack_id=name, message=SimpleNamespace(message_id=name, data=value)) for name, value in found
        ]
        return SimpleNamespace(received_messages=received)

    def acknowledge(self, request: dict[str, Any]) -> None:
        self.when_acknowledged()
        if self.kill_at_acknowledgement:
            raise Killed
        for name in request["ack_ids"]:
            del self.waiting[name]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    specification = importlib.util.spec_from_file_location("pubsub_spool", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_each_message_is_a_line_once_although_the_script_is_killed(script: ModuleType, tmp_path: Path) -> None:
    folder, stream, rng = tmp_path / "spool", Place(tmp_path / "stream"), random.Random(0)
    folder.mkdir()
    subscription = Subscription([message(number) for number in range(40)])
    found = []
    while subscription.waiting:
        subscription.kill_at_acknowledgement = rng.random() < 0.5
        (folder / ".999999999999.jsonl").write_bytes(b'{"text": "half')
        with contextlib.suppress(Killed):
            script.copy(subscription, "s", folder, script.read_ids(folder), most=rng.randrange(1, 9))
        ready = LinesInbox(Place(folder), stream).poll(Ledger(stream), 1000).ready
        found += [text for batch in ready for text in texts(batch)]
        cycle(LinesInbox(Place(folder), stream), stream)
    assert found == [str(number) for number in range(40)]


def test_a_file_is_on_the_disk_before_it_is_acknowledged(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = list[str](), os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    subscription = Subscription([message(1)])
    before = list[str]()
    subscription.when_acknowledged = lambda: before.extend(synced)
    assert script.copy(subscription, "s", tmp_path, set()) == 1
    assert before == [".000000000001", "ids", ".000000000001.jsonl", tmp_path.name]
    assert subscription.waiting == {}
    assert script.copy(subscription, "s", tmp_path, set()) == 0


def test_a_message_that_is_no_object_is_refused_by_the_stream_and_not_by_the_script(
    script: ModuleType, tmp_path: Path
) -> None:
    said = list[str]()
    assert script.copy(Subscription([b"nonsense\xff", b"[1]", message(3)]), "s", tmp_path, set()) == 3
    stream = Place(tmp_path / "stream")
    _, (batch,) = cycle(LinesInbox(Place(tmp_path), stream, say=said.append), stream)
    assert batch.entries == 3
    assert "2 of 3 messages" in said[0]
