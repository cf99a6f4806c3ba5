"""Preparing from addresses: pictures that are read ahead, URLs of many hosts, and stores that fail."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from beam_jobs.__main__ import COMMANDS
from beam_jobs.annotation import Annotation
from beam_jobs.job.pictures import Picture
from beam_jobs.prepare.load_picture import PictureRow, load
from tests.loopback import Server, serving
from tests.pictures import NOISE, saved
from tests.stores import Bucket
from tfrecords import Manifest
from tfrecords.cli import main
from tfrecords.dataset.manifest import DEAD_LETTERS, MANIFEST
from tfrecords.errors import UserError
from tfrecords.files import ahead, remote
from tfrecords.files.place import Place

PICTURE = saved(NOISE, "PNG")


def prepare(source: str, given: object, output: Path, *options: str) -> int:
    arguments = ["--source", source, "--input", str(given), "--output", str(output), *options]
    return main("beam_jobs", "", COMMANDS, ["prepare", *arguments, "--max-dead-fraction", "1"])


def rows(names: list[str], dead: str = "") -> list[PictureRow]:
    annotations = [Annotation("train", name, index, "1") for index, name in enumerate(names)]
    return [PictureRow(annotation, "train", 0) for annotation in annotations if annotation.name != dead]


# --- reading ahead


def test_remote_pictures_are_read_at_once_in_order_and_not_too_far_ahead() -> None:
    together = threading.Barrier(ahead.THREADS, timeout=20)
    begun: list[str] = []

    def read(name: str) -> Picture:
        begun.append(name)
        # The first one is read alone, then as many as there are threads.
        if 0 < int(name.rpartition("/")[2]) <= ahead.THREADS:
            together.wait()
        if name.endswith("5"):
            raise FileNotFoundError(2, "No such file or directory", name)
        return PICTURE

    count = 3 * ahead.THREADS
    loaded = []
    for row, picture in load(rows([str(index) for index in range(count)]), read, is_remote=True):
        loaded.append(row.annotation.name)
        assert (picture is None) == row.annotation.name.endswith("5")
        assert len(begun) <= len(loaded) + ahead.THREADS
    assert loaded == [str(index) for index in range(count)]
    assert sorted(begun) == sorted(f"train/{index}" for index in range(count))


def test_local_pictures_are_read_when_it_is_their_turn() -> None:
    begun: list[tuple[str, int]] = []

    def read(name: str) -> Picture:
        begun.append((name, threading.get_ident()))
        return PICTURE

    names = ["a", "b", "https://h/c", "https://h/d", "e"]
    for at, (row, _) in enumerate(load(rows(names), read)):
        assert row.annotation.name == names[at]
        if at < 2:
            assert begun == [(f"train/{name}", threading.get_ident()) for name in names[: at + 1]]
    assert [name for name, thread in begun if thread == threading.get_ident()] == ["train/a", "train/b", "train/e"]


def test_pixels_of_a_remote_file_are_taken_without_threads() -> None:
    threads = []

    def read(name: str) -> Picture:
        threads.append(threading.get_ident())
        return np.zeros((8, 8, 1), np.uint8)

    assert len(list(load(rows(["0", "1", "2", "3"]), read, is_remote=True))) == 4
    assert threads[1:] == [threading.get_ident()] * 3


def test_a_store_that_fails_is_not_asked_for_all_other_pictures() -> None:
    asked = []

    def read(name: str) -> Picture:
        asked.append(name)
        raise UserError(f"{name} does not answer.")

    with pytest.raises(UserError, match=r"^train/0 does not answer\.$"):
        list(load(rows([str(index) for index in range(100)]), read, is_remote=True))
    assert asked == ["train/0"]


# --- URLs of many hosts


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of pictures, and of a page instead of one."""
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(remote, "_unreachable", {})
    files = {f"/{name}.png": PICTURE for name in ("good", "slow", "late", "broken")}
    files |= {"/page.png": b"<!DOCTYPE html><title>Log in</title>", "/signed.png?X-Amz-Signature=ab%2Fc&v=1": PICTURE}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if host.endswith(".invalid"):
            # As a name server that knows no such name, and as none that answers.
            raise socket.gaierror(socket.EAI_NONAME if host.startswith("gone") else socket.EAI_AGAIN, "no address")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with serving(files, monkeypatch) as server:
        fsspec.get_filesystem_class("https").clear_instance_cache()
        yield server
    fsspec.get_filesystem_class("https").clear_instance_cache()


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_one_url_that_cannot_be_read_is_a_dead_letter(
    web: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.redirects = {"/moved.png": f"{web.url}/good.png", "/circle.png": "/circle.png"}
    web.refusals = {"/slow.png": [500, 502], "/broken.png": [500] * 9, "/secret.png": [403]}
    gone = f"http://127.0.0.1:{unused_port()}"
    good = [
        f"{web.url}/{name}" for name in ("good.png", "slow.png", "moved.png", "signed.png?X-Amz-Signature=ab%2Fc&v=1")
    ]
    bad = {
        f"{web.url}/none.png": ("missing_picture", "No such file or directory"),
        f"{web.url}/secret.png": ("unreadable_picture", "403 Forbidden"),
        f"{web.url}/broken.png": ("unreadable_picture", "500 Internal Server Error"),
        f"{web.url}/circle.png": ("unreadable_picture", "too many redirects"),
        f"{web.url}/page.png": ("not_a_picture", "a web page"),
        f"{gone}/1.png": ("unreadable_picture", "the host refuses the connection"),
        f"{gone}/2.png": ("unreadable_picture", "the host refuses the connection"),
        "http://gone.invalid/1.png": ("unreadable_picture", "the name of the host does not resolve"),
    }
    table = tmp_path / "numbers.csv"
    table.write_text("\n".join(["image,text", *(f'"{url}",12' for url in (*good, *bad))]))
    assert prepare("table", table, tmp_path / "records") == 0
    lines = (tmp_path / "records" / DEAD_LETTERS).read_text().splitlines()
    letters = {letter["key"].removeprefix("train/"): letter for letter in map(json.loads, lines)}
    assert set(letters) == set(bad)
    for url, (reason, received) in bad.items():
        assert letters[url]["reason"] == reason and letters[url]["detail"].endswith(f"Received: {received}"), letters[
            url
        ]
    # A host that is gone costs its attempts once.
    assert list(remote._unreachable) == [gone, "http://gone.invalid"]
    assert sum(info.pictures for info in Manifest.load(tmp_path / "records").splits.values()) == len(good)


def test_a_fault_that_all_urls_would_have_ends_the_job(
    web: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web.refusals = {"/good.png": [503] * 4}
    (tmp_path / "numbers.csv").write_text(f"image,text\n{web.url}/good.png,12\n{web.url}/late.png,3")
    assert prepare("table", tmp_path / "numbers.csv", tmp_path / "records") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"error: {web.url}/good.png does not answer. Received: 503 Service Unavailable"
    assert not (tmp_path / "records" / MANIFEST).exists()
    with pytest.raises(UserError, match=r"^http://later\.invalid/1\.png does not answer\. Received: "):
        Place("http://later.invalid/1.png").read_linked()
    with pytest.raises(UserError, match=r"^http://gone\.invalid/1\.png does not answer\. Received: "):
        Place("http://gone.invalid/1.png").read_bytes()
    assert not remote._unreachable


# --- a bucket


def meters(folder: Path, count: int) -> Path:
    """Writes a table, and pictures without numbers in them."""
    (folder / "photos").mkdir(parents=True)
    for index in range(count):
        (folder / "photos" / f"{index}.png").write_bytes(saved(np.roll(NOISE, index, 0), "PNG"))
    lines = [f"{index}.png,{index},4,5,20,12" for index in range(count)]
    (folder / "numbers.csv").write_text("\n".join(["file_name,text,left,top,width,height", *lines]))
    return folder / "numbers.csv"


SHARDS = ("--examples-per-shard", "40", "--validation-fraction", "0")


def same(here: Path, there: Path) -> bool:
    """Returns whether two datasets are, byte for byte."""
    names = [sorted(path.name for path in folder.iterdir()) for folder in (here, there)]
    return names[0] == names[1] and all((here / name).read_bytes() == (there / name).read_bytes() for name in names[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers",
    [("--workers", "2"), ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")],
    ids=["workers", "Beam's processes"],
)
def test_a_bucket_that_fails_in_the_middle_is_one_line_and_two_worker_processes_resume(
    workers: tuple[str, ...],
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = meters(tmp_path / "meters", 40)
    bucket.put_folder(tmp_path / "meters" / "photos", "photos")
    root = f"{bucket.address}/photos"
    assert prepare("table", table, tmp_path / "here", "--media-root", str(table.parent / "photos"), *SHARDS) == 0
    capsys.readouterr()

    read, served = remote.read_bytes, iter(range(25))

    def fail_later(address: str) -> bytes:
        if next(served, None) is None:
            raise UserError(f"{address} does not answer.", "no route")
        return read(address)

    monkeypatch.setattr(remote, "read_bytes", fail_later)
    assert prepare("table", table, tmp_path / "there", "--media-root", root, *SHARDS) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("prepare:", "read "))]
    assert len(errors) == 1 and errors[0].startswith(f"error: {root}/"), errors
    assert not (tmp_path / "there" / MANIFEST).exists()
    assert 0 < len(list((tmp_path / "there").glob("*.tfrecord-*"))) < 5

    monkeypatch.setattr(remote, "read_bytes", read)
    assert prepare("table", table, tmp_path / "there", "--media-root", root, *SHARDS, *workers) == 0
    assert "already complete" in capsys.readouterr().out
    assert same(tmp_path / "here", tmp_path / "there")


@pytest.mark.parametrize("source", ["svhn", "yolo", "mnist", "optdigits", "image-folder"])
def test_a_folder_of_pictures_that_a_source_does_not_read_is_refused(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(source, tmp_path / "none", tmp_path / "records", "--media-root", "s3://bucket/photos") == 1
    rule = f"--source {source} has its pictures in --input: leave out --media-root."
    assert capsys.readouterr().err == f"error: {rule} Received: s3://bucket/photos\n"
