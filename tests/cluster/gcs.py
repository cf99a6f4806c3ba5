"""fake-gcs-server, a server of Google Cloud Storage's protocol in Go, on the loopback interface, and buckets in it."""

import contextlib
import hashlib
import itertools
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster import downloads
from tests.cluster.processes import free_ports, listens, running

_NUMBERS = itertools.count(1)


@contextlib.contextmanager
def serving_gcs(folder: Path) -> Iterator[str]:
    """Runs a server that keeps its objects in memory, and yields its address.

    Args:
      folder: Folder for its log.

    Raises:
      Missing: Go is not installed, or cannot fetch the server.
    """
    (port,) = free_ports(1)
    here = f"127.0.0.1:{port}"
    words = ["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
    words += ["-public-host", here, "-external-url", f"http://{here}"]  # where uploads in parts go to
    with running([str(downloads.fake_gcs_server()), *words], folder / "gcs.log") as server:
        server.wait_until(lambda: listens(port), "the store listens", 30, poll_s=0.05)
        yield f"http://{here}"


class GoogleBucket:
    """A new bucket, read and written by plain requests, so that gcsfs reads what it has not written itself."""

    def __init__(self, endpoint: str) -> None:
        """Makes it."""
        self.name = f"bucket-{next(_NUMBERS)}"
        self.address = f"gs://{self.name}"
        self._endpoint = endpoint
        self._ask("POST", "/storage/v1/b?project=tests", json.dumps({"name": self.name}).encode(), "application/json")

    def put(self, name: str, data: bytes) -> None:
        """Writes an object."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        self._ask("POST", f"/upload/storage/v1/b/{self.name}/o?{query}", data)

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Writes every file below a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def get(self, name: str) -> bytes:
        """Returns the content of an object."""
        return self._ask("GET", f"/storage/v1/b/{self.name}/o/{urllib.parse.quote(name, safe='')}?alt=media")

    def names(self, folder: str) -> list[str]:
        """Returns the names of the objects below a folder, without the folder."""
        query = urllib.parse.urlencode({"prefix": f"{folder}/"})
        listed: dict[str, Any] = json.loads(self._ask("GET", f"/storage/v1/b/{self.name}/o?{query}"))
        assert "nextPageToken" not in listed
        return sorted(each["name"].removeprefix(f"{folder}/") for each in listed.get("items", ()))

    def digests(self, folder: str) -> dict[str, str]:
        """Returns the digest of each object below a folder by its name."""
        return {name: hashlib.sha256(self.get(f"{folder}/{name}")).hexdigest() for name in self.names(folder)}

    def _ask(
        self, method: str, target: str, data: bytes | None = None, kind: str = "application/octet-stream"
    ) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(
            f"{self._endpoint}{target}", data=data, method=method, headers={"Content-Type": kind}
        )
        with opener.open(request, timeout=30) as answer:
            return bytes(answer.read())
