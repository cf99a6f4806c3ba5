"""Copies messages of a Pub/Sub subscription into a folder that `watch --input lines://FOLDER` reads.

    pip install google-cloud-pubsub
    python docs/pubsub_spool.py projects/PROJECT/subscriptions/NAME FOLDER

Each answer becomes one file. It is on the disk under its name before it is acknowledged, so a kill loses nothing. Ids
of messages are in `ids/`, so that one that was written and not acknowledged is not written again. Set
`enable_exactly_once_delivery` on the subscription: else Pub/Sub may deliver again what was acknowledged. Run one
process a folder. Old files may be deleted when a snapshot has their messages, but not the newest one.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def read_ids(folder: Path) -> set[str]:
    """Returns the ids of the messages that are in the folder."""
    files = [folder / "ids" / path.stem for path in folder.glob("[0-9]*.jsonl")]
    return {name for file in files for name in file.read_text().split()}


def to_line(message: Any) -> bytes:
    """Returns the line of a message; what is no JSON object becomes one that the stream refuses."""
    try:
        content = json.loads(message.data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {"text": message.data[:100].decode("latin-1")}
    return json.dumps(content).encode() + b"\n"


def write(path: Path, content: bytes) -> None:
    """Writes a file, which appears complete and is on the disk when this returns."""
    hidden = path.with_name(f".{path.name}")
    with hidden.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(subscriber: Any, subscription: str, folder: Path, written: set[str], most: int = 200) -> int:
    """Copies one answer of the subscription; adds to `written`, and returns the number of new messages."""
    answer = subscriber.pull(request={"subscription": subscription, "max_messages": most}, timeout=60)
    received = {each.message.message_id: each.message for each in answer.received_messages}
    new = {name: message for name, message in received.items() if name not in written}
    if new:
        number = 1 + max((int(path.stem) for path in folder.glob("[0-9]*.jsonl")), default=0)
        (folder / "ids").mkdir(exist_ok=True)
        write(folder / "ids" / f"{number:012d}", "\n".join(new).encode())
        write(folder / f"{number:012d}.jsonl", b"".join(map(to_line, new.values())))
        written.update(new)
    ids = [each.ack_id for each in answer.received_messages]
    if ids:
        subscriber.acknowledge(request={"subscription": subscription, "ack_ids": ids})
    return len(new)


def main(subscription: str, folder: str) -> None:
    """Copies messages until it is stopped."""
    from google.api_core.exceptions import DeadlineExceeded
    from google.cloud import pubsub_v1

    Path(folder).mkdir(parents=True, exist_ok=True)
    written = read_ids(Path(folder))
    with pubsub_v1.SubscriberClient() as subscriber:
        while True:
            try:
                copy(subscriber, subscription, Path(folder), written)
            except DeadlineExceeded:
                continue  # no message within the time-out


if __name__ == "__main__":
    main(*sys.argv[1:])
