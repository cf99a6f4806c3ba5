"""Reading small pictures from an S3 server on loopback: `Place` against boto3, one by one and in eight threads.

The server is moto's, in a process of its own; it, not the reader, takes most of the time, as a store's latency does.
"""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tfrecords.files.place import Place

CLOCK = time.perf_counter
"""The server is another process, which the reader waits for."""
_BUCKET = "pictures"
_PICTURE_BYTES = 2000
_THREADS = 8
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def ways(folder: Path, entries: int) -> dict[str, Callable[[], int]]:
    """Returns the ways to read all pictures, by name; each returns the number of pictures that it has read.

    Args:
      folder: Not used: the pictures are in the server's memory.
      entries: Number of pictures of 2 kB.
    """
    import boto3

    os.environ.update(_ENVIRONMENT, AWS_ENDPOINT_URL=_start_server(), no_proxy="127.0.0.1")
    client = boto3.client("s3")
    client.create_bucket(Bucket=_BUCKET)
    names = [f"{index:06}.png" for index in range(entries)]
    for name in names:
        client.put_object(Bucket=_BUCKET, Key=name, Body=bytes(_PICTURE_BYTES))
    place = Place(f"s3://{_BUCKET}")

    def get(name: str) -> bytes:
        data: bytes = client.get_object(Bucket=_BUCKET, Key=name)["Body"].read()
        return data

    def read(name: str) -> bytes:
        return (place / name).read_bytes()

    return {
        "boto3": lambda: _one_by_one(get, names),
        "ours": lambda: _one_by_one(read, names),
        f"boto3, {_THREADS} threads": lambda: _in_threads(get, names),
        f"ours, {_THREADS} threads": lambda: _in_threads(read, names),
    }


def _one_by_one(read: Callable[[str], bytes], names: list[str]) -> int:
    return sum(len(read(name)) == _PICTURE_BYTES for name in names)


def _in_threads(read: Callable[[str], bytes], names: list[str]) -> int:
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(len(data) == _PICTURE_BYTES for data in pool.map(read, names))


def _start_server() -> str:
    """Starts the server in a process that ends with this one, and returns its address."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    context.Process(target=_serve, args=(sender,), daemon=True).start()
    address: str = receiver.recv()
    return address


def _serve(sender: Any) -> None:
    """Runs the server until the process is ended."""
    import logging
    import threading

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sender.send(f"http://{host}:{port}")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
