"""The download command against a loopback server with small archives of the same shape."""

import argparse
import fcntl
import hashlib
import io
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from beam_jobs.download import command as download_module
from beam_jobs.download.archives import ARCHIVES, Archive
from beam_jobs.download.command import DownloadConfig, add_arguments, download, run
from beam_jobs.download.fetch import FetchPolicy, bytes_received
from tests.loopback import TAKE_INTERRUPTS, Server, serving
from tfrecords.errors import UserError
from tfrecords.flags import from_flags

POLICY = FetchPolicy(timeout_s=5.0, attempts=2, first_pause_s=0.001)
PICTURE_BYTES = 100_000


def tar_gz(subset: str, pictures: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        names = [f"{number}.png" for number in range(1, pictures + 1)]
        for name in [*names, "digitStruct.mat", "see_bboxes.m"]:
            info = tarfile.TarInfo(f"{subset}/{name}")
            info.size = PICTURE_BYTES
            # A stream that does not compress, like a PNG's, and always the same.
            content = b"".join(hashlib.sha256(f"{name}{i}".encode()).digest() for i in range(PICTURE_BYTES // 32))
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


FILES = {"train": tar_gz("train", 3), "test": tar_gz("test", 2), "extra": tar_gz("extra", 4)}
SMALL = {
    name: Archive(len(FILES[name]), hashlib.sha256(FILES[name]).hexdigest(), pictures)
    for name, pictures in [("train", 3), ("test", 2), ("extra", 4)]
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving({f"/{name}.tar.gz": body for name, body in FILES.items()}, monkeypatch) as running:
        yield running


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_published_archives_have_their_known_sizes_and_digests() -> None:
    assert {name: (archive.size_bytes, archive.sha256[:8], archive.pictures) for name, archive in ARCHIVES.items()} == {
        "train": (404141560, "4b17bb33", 33402),
        "test": (276555967, "57ac9ceb", 13068),
        "extra": (1955489752, "e857e27d", 202353),
    }
    assert all(len(archive.sha256) == 64 for archive in ARCHIVES.values())


def test_train_and_test_from_the_authors_server_are_the_defaults() -> None:
    config = from_flags(DownloadConfig, vars(parse("--output", "data")))
    assert config == DownloadConfig(
        output=Path("data"),
        subset="train,test",
        base_url="http://ufldl.stanford.edu/housenumbers/",
        keep_archives=False,
    )
    assert config.subsets == ("train", "test")


def test_the_command_creates_the_folders_and_prints_the_next_command(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download_module, "ARCHIVES", SMALL)
    output = tmp_path / "new" / "svhn"
    assert run(parse("--output", str(output), "--base-url", server.url)) == 0
    assert names(output) == ["test", "train"]
    assert names(output / "train") == ["1.png", "2.png", "3.png", "digitStruct.mat", "see_bboxes.m"]
    assert server.paths == [("/train.tar.gz", None), ("/test.tar.gz", None)]
    out, err = capsys.readouterr()
    assert out == (
        f"downloaded train, test in {output}\nNext: python -m beam_jobs prepare --source svhn "
        f"--input {output} --output {output}-records\n"
    )
    notice = "SVHN is for non-commercial use only: see http://ufldl.stanford.edu/housenumbers/\n"
    assert err.startswith(notice)
    assert err.count("non-commercial") == 1
    for bar in ["download train: 100 %", "unpack train: 100 %", "download test: 100 %", "unpack test: 100 %"]:
        assert bar in err


def test_a_second_run_skips_what_is_complete(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download_module, "ARCHIVES", SMALL)
    download(DownloadConfig(tmp_path, "train", server.url), SMALL, POLICY)
    server.asked.clear()
    capsys.readouterr()
    assert run(parse("--output", str(tmp_path), "--base-url", server.url)) == 0
    assert server.paths == [("/test.tar.gz", None)]
    out, err = capsys.readouterr()
    assert out.startswith(f"downloaded test and found train complete in {tmp_path}\nNext: ")
    assert f"train: already complete in {tmp_path}/train, skipped\n" in err
    server.asked.clear()
    assert run(parse("--output", str(tmp_path), "--base-url", server.url)) == 0
    assert server.paths == []
    assert capsys.readouterr().out.startswith(f"found train, test complete in {tmp_path}\nNext: ")


def test_kept_archives_are_unpacked_again_without_a_request(server: Server, tmp_path: Path) -> None:
    config = DownloadConfig(tmp_path, "extra", f"{server.url}/", keep_archives=True)
    assert download(config, SMALL, POLICY) == ("extra",)
    assert names(tmp_path) == ["extra", "extra.tar.gz"]
    shutil.rmtree(tmp_path / "extra")
    assert download(config, SMALL, POLICY) == ("extra",)
    assert server.paths == [("/extra.tar.gz", None)]


def test_a_killed_process_is_resumed_with_a_range_for_exactly_the_rest(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.cuts, server.stalls = [250_000], True
    code = (
        "import sys; from argparse import Namespace; from pathlib import Path\n"
        f"{TAKE_INTERRUPTS}\n"
        "from beam_jobs.download import command; from beam_jobs.download.archives import Archive\n"
        "command.ARCHIVES = {'train': Archive(int(sys.argv[3]), sys.argv[4], 3)}\n"
        "command.run(Namespace(output=Path(sys.argv[1]), subset='train', base_url=sys.argv[2]))"
    )
    archive = SMALL["train"]
    argv = [str(tmp_path), server.url, str(archive.size_bytes), archive.sha256]
    with subprocess.Popen([sys.executable, "-c", code, *argv], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 40
        while bytes_received(tmp_path / "train.tar.gz") < 200_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(UserError) as caught:
            download(DownloadConfig(tmp_path, "train", server.url), SMALL, POLICY)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    assert str(caught.value) == (f"{tmp_path}: only one download at a time may use a folder. Received: a second one")
    assert f"The received bytes are kept in {tmp_path}; the same command resumes.\n" in err
    received = bytes_received(tmp_path / "train.tar.gz")
    assert 200_000 <= received <= 250_000
    assert names(tmp_path) == ["train.tar.gz.partial", "train.tar.gz.partial.json"]
    download(DownloadConfig(tmp_path, "train", server.url), SMALL, POLICY)
    assert server.paths == [("/train.tar.gz", None), ("/train.tar.gz", f"bytes={received}-")]
    assert names(tmp_path) == ["train"]


def test_an_interrupt_while_unpacking_keeps_the_archive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        (tmp_path / ".train.partial-killed").mkdir()
        raise KeyboardInterrupt

    config = DownloadConfig(tmp_path, "train", server.url)
    with monkeypatch.context() as patch:
        patch.setattr(download_module, "unpack", interrupt)
        with pytest.raises(KeyboardInterrupt):
            download(config, SMALL, POLICY)
    assert names(tmp_path) == [".train.partial-killed", "train.tar.gz"]
    download(config, SMALL, POLICY)
    assert names(tmp_path) == ["train"]
    assert len(server.asked) == 1


def test_a_mirrors_wrong_bytes_leave_nothing(server: Server, tmp_path: Path) -> None:
    server.files["/train.tar.gz"] = bytes(len(FILES["train"]))
    with pytest.raises(UserError) as caught:
        download(DownloadConfig(tmp_path, "train", server.url), SMALL, POLICY)
    assert str(caught.value).startswith(
        f"{server.url}/train.tar.gz: must have {len(FILES['train'])} bytes and SHA-256 "
    )
    assert str(caught.value).endswith(f"SHA-256 {hashlib.sha256(server.files['/train.tar.gz']).hexdigest()}")
    assert names(tmp_path) == []


def test_a_missing_archive_is_named(server: Server, tmp_path: Path) -> None:
    config = DownloadConfig(tmp_path, "train", f"{server.url}/elsewhere")
    with pytest.raises(UserError) as caught:
        download(config, SMALL, POLICY)
    assert str(caught.value) == (
        f"{server.url}/elsewhere/train.tar.gz: must answer 200 or 206. Received: 404 Not Found"
    )


def needed_bytes(archive: Archive) -> int:
    return archive.size_bytes + archive.unpacked_bytes


@pytest.mark.parametrize(
    ("free", "keep", "enough"),
    [
        (SMALL["train"].unpacked_bytes + needed_bytes(SMALL["test"]), False, True),
        (SMALL["train"].unpacked_bytes + needed_bytes(SMALL["test"]) - 1, False, False),
        (needed_bytes(SMALL["train"]) + needed_bytes(SMALL["test"]), True, True),
        (needed_bytes(SMALL["train"]) + needed_bytes(SMALL["test"]) - 1, True, False),
    ],
    ids=["just enough", "a byte too few", "just enough to keep archives", "a byte too few to keep archives"],
)
def test_disk_space_is_checked_before_the_first_request(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, keep: bool, enough: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    config = DownloadConfig(tmp_path, "train,test", server.url, keep)
    if enough:
        assert download(config, SMALL, POLICY) == ("train", "test")
        return
    with pytest.raises(UserError, match=r"downloading and unpacking train, test needs about \d+\.\d\d GB of free"):
        download(config, SMALL, POLICY)
    assert server.paths == []
    assert names(tmp_path) == []


def test_received_bytes_need_no_space_again(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.tar.gz.partial").write_bytes(FILES["train"][:300_000])
    free = needed_bytes(SMALL["train"]) - 300_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert download(DownloadConfig(tmp_path, "train", server.url), SMALL, POLICY) == ("train",)
    assert server.paths == [("/train.tar.gz", "bytes=300000-")]


def test_the_published_archives_need_a_known_amount_of_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=123_456_789))
    with pytest.raises(UserError) as caught:
        run(parse("--output", str(tmp_path), "--subset", "train,test,extra", "--base-url", "http://127.0.0.1:1"))
    assert str(caught.value) == (
        f"{tmp_path}: downloading and unpacking train, test, extra needs about 7.08 GB of free disk space. "
        "Received: 0.12 GB"
    )


@pytest.mark.parametrize(
    ("made", "received"),
    [
        ([], "0 PNGs without digitStruct.mat"),
        (["1.png", "2.png", "digitStruct.mat"], "2 PNGs with digitStruct.mat"),
        (["1.png", "2.png", "3.png"], "3 PNGs without digitStruct.mat"),
    ],
    ids=["an empty folder", "a picture missing", "no boxes"],
)
def test_an_incomplete_folder_is_an_error(server: Server, tmp_path: Path, made: list[str], received: str) -> None:
    (tmp_path / "train").mkdir()
    for name in made:
        (tmp_path / "train" / name).touch()
    with pytest.raises(UserError) as caught:
        download(DownloadConfig(tmp_path, "train", server.url), SMALL, POLICY)
    assert str(caught.value) == (
        f"{tmp_path}/train: must not exist, or must hold 3 PNGs and digitStruct.mat; move it away. Received: {received}"
    )
    assert server.paths == []


@pytest.mark.parametrize(("subset", "received"), [("train,tset", "train,tset"), (" , ", "none")])
def test_an_unknown_subset_is_an_error(tmp_path: Path, subset: str, received: str) -> None:
    with pytest.raises(UserError) as caught:
        run(parse("--output", str(tmp_path / "new"), "--subset", subset))
    assert str(caught.value) == f"--subset must name some of train, test, extra. Received: {received}"
    assert not (tmp_path / "new").exists()


def test_a_mirror_must_be_a_web_address(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be http:// or https://.* Received: file:///data$"):
        run(parse("--output", str(tmp_path / "new"), "--base-url", "file:///data"))
    assert not (tmp_path / "new").exists()


def test_a_file_system_that_cannot_lock_does_not_stop_a_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError("No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert download(DownloadConfig(tmp_path, "test", server.url), SMALL, POLICY) == ("test",)
