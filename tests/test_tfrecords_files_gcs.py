"""What gcsfs is told: the credentials of `gs://`, and a server of its protocol; tests/cluster/test_gcs.py has one."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import fsspec
import pytest
from google.auth import _default, exceptions

from tfrecords.errors import UserError
from tfrecords.files import google_store, remote_errors
from tfrecords.files.google_store import EMULATOR, emulator, options

KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without credentials and servers, and nothing looked for yet."""
    for name in (EMULATOR, KEY_FILE, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(google_store, "_tokens", {})
    monkeypatch.setattr(fsspec.config, "conf", {})


def finding(found: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Lets google-auth find credentials, or raise; returns a list that gets an entry for each time."""
    asked: list[object] = []

    def default(**_: object) -> Any:
        asked.append(None)
        if isinstance(found, Exception):
            raise found
        return found, "project"

    monkeypatch.setattr("google.auth.default", default)
    return asked


@pytest.mark.parametrize(
    ("value", "address"),
    [("", None), ("default", None), ("127.0.0.1:4443", "http://127.0.0.1:4443"), ("https://h:1", "https://h:1")],
)
def test_the_variable_of_a_server_is_read_as_gcsfs_reads_it(
    value: str, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gcsfs.core import _location

    monkeypatch.setenv(EMULATOR, value)
    assert emulator() == address
    assert _location() == (address or "https://storage.googleapis.com")


def test_a_server_for_tests_gets_no_credentials_and_is_not_asked_for_zonal_buckets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = finding("credentials", monkeypatch)
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:4443")
    assert options("gs") == {"token": "anon"} and not asked
    assert os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] == "false"


def test_the_variables_that_the_user_has_set_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EMULATOR, "http://127.0.0.1:4443")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "true")
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "cloud"})
    assert options("gs") == {} and options("gcs") == {"token": "anon"}
    assert os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] == "true"


def test_zonal_buckets_of_googles_own_store_are_left_to_gcsfs(monkeypatch: pytest.MonkeyPatch) -> None:
    finding("credentials", monkeypatch)
    assert options("gs") == {}
    assert "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT" not in os.environ


def test_without_credentials_a_bucket_is_read_as_anybody_after_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = finding(exceptions.DefaultCredentialsError("none found"), monkeypatch)
    assert [options("gs") for _ in range(3)] == [{"token": "anon"}] * 3
    assert len(asked) == 1


def test_tokens_of_a_login_in_a_browser_are_left_to_gcsfs(monkeypatch: pytest.MonkeyPatch) -> None:
    finding(exceptions.DefaultCredentialsError("none found"), monkeypatch)
    monkeypatch.setattr("gcsfs.credentials.GoogleCredentials.tokens", {("project", "full_control"): "token"})
    assert options("gs") == {}


def test_a_file_of_credentials_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "gone.json"))
    with pytest.raises(UserError) as caught:
        options("gs")
    assert str(caught.value).startswith(f"{KEY_FILE} must name a file with credentials. Received: File ")
    assert "gone.json" in str(caught.value) and "\n" not in str(caught.value)


def test_warnings_of_google_auth_stay_off_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    finding("credentials", monkeypatch)
    options("gs")
    for name in ("gcsfs", "gcsfs.credentials", "google.auth.compute_engine._metadata", "google.auth._default"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR), name
    warnings.warn(_default._CLOUD_SDK_CREDENTIALS_WARNING, stacklevel=1)  # an error here, without the filter


def test_gcsfs_reads_the_variable_of_zonal_buckets_when_it_is_imported() -> None:
    # Of the modules here only the environment is set before: what gcsfs makes of it is its own.
    code = "import fsspec; print(fsspec.get_filesystem_class('gs').__module__)"
    environment = {**os.environ, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "gcsfs.core\n"


@pytest.mark.parametrize(
    ("status", "path", "content", "done", "message"),
    [
        (404, "b/bkt/o", b"", "read", "gs://bkt: there is no such bucket, or no right to see it. Received: gs://bkt/a"),
        (404, "https://h/upload/storage/v1/b/bkt/o?name=a", b"", "written", "gs://bkt: there is no such bucket, or no"),
        (404, "b/bkt/o/a", b"", "read", "[Errno 2] No such file or directory: 'gs://bkt/a'"),
        (
            403,
            "b/bkt/o/a",
            b'{"error": {"message": "denied"}}',
            "read",
            "gs://bkt/a cannot be read: the account needs roles/storage.objectViewer on the bucket. Received: Forb",
        ),
        (
            403,
            "b/bkt/o/a",
            b'{"error": {"message": "denied"}}',
            "deleted",
            "gs://bkt/a cannot be deleted: the account needs roles/storage.objectUser on the bucket. Received: ",
        ),
        (
            401,
            "b/bkt/o/a",
            b'{"error": {"message": "Anonymous caller does not have access"}}',
            "read",
            "gs://bkt/a cannot be read: it needs GOOGLE_APPLICATION_CREDENTIALS, or the login of gcloud auth ",
        ),
    ],
)
def test_a_refusal_of_googles_store_says_what_to_set(
    status: int, path: str, content: bytes, done: str, message: str
) -> None:
    from gcsfs.retry import validate_response

    with pytest.raises(Exception) as caught:
        validate_response(status, content, path)
    explained = str(remote_errors.explain(caught.value, "gs://bkt/a", done))
    assert explained.startswith(message) and "\n" not in explained
