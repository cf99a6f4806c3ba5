"""An S3 server on the loopback interface (moto's, of another hand than s3fs), and buckets in it."""

import contextlib
import functools
import itertools
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REGION = "us-east-1"
_NUMBERS = itertools.count(1)


@contextlib.contextmanager
def serving_s3() -> Iterator[str]:
    """Runs a server in a thread and yields its address."""
    ThreadedMotoServer = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def forget_buckets(endpoint: str) -> None:
    """Deletes all that a server holds, which it has in this process's memory."""
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")):
        pass


def share_models() -> None:
    """Lets all sessions of boto3 and s3fs read botocore's descriptions of services once: 10 MB and 0.1 s for each."""
    import botocore.session

    vars(botocore.session)["create_loader"] = functools.cache(botocore.session.create_loader)


def use_store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points the environment, as a user's, at a server; what was connected before is forgotten."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    values = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    for name, value in {**values, "AWS_DEFAULT_REGION": REGION, "no_proxy": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()


class Bucket:
    """A new bucket; boto3 writes it, so that s3fs reads what it has not written itself."""

    def __init__(self, endpoint: str) -> None:
        """Makes it."""
        import boto3

        self.name = f"bucket-{next(_NUMBERS)}"
        self.address = f"s3://{self.name}"
        self.client: Any = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name=REGION
        )
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, data: bytes = b"") -> None:
        """Writes an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Writes every file below a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
