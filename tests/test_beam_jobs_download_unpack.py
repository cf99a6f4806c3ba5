"""Unpacking valid, hostile and damaged archives."""

import gzip
import io
import stat
import tarfile
from pathlib import Path

import pytest

from beam_jobs.download import unpack as unpack_module
from beam_jobs.download.unpack import remove_leftovers, unpack
from tests.forgetful import ForgetfulDisk
from tfrecords.errors import UserError


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode, info.uid = kind, link, len(content), 0o4777, 12345
    return info, content


def write_archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


VALID = [
    member("train/", kind=tarfile.DIRTYPE),
    member("train/1.png", b"one" * 1000),
    member("train/2.png", b"two" * 1000),
    member("train/digitStruct.mat", bytes(1024)),
]


def test_a_valid_archive_becomes_a_folder_and_nothing_else(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", *VALID)
    positions: list[int] = []
    unpack(archive, tmp_path / "train", positions.append)
    assert {path.name: path.stat().st_size for path in (tmp_path / "train").iterdir()} == {
        "1.png": 3000,
        "2.png": 3000,
        "digitStruct.mat": 1024,
    }
    assert (tmp_path / "train" / "1.png").read_bytes() == b"one" * 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "train.tar.gz"]
    assert positions[-1] == archive.stat().st_size


def test_no_power_cut_leaves_a_folder_with_files_that_are_missing_or_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", *VALID)
    whole = {"train/1.png": b"one" * 1000, "train/2.png": b"two" * 1000, "train/digitStruct.mat": bytes(1024)}
    seen = []
    disk = ForgetfulDisk(tmp_path, monkeypatch, lambda: seen.append(disk.files()))
    unpack(archive, tmp_path / "train", lambda _: None)
    for files in seen:
        assert {name: data for name, data in files.items() if name.startswith("train/")} in ({}, whole)
    assert whole.items() <= seen[-1].items()


@pytest.mark.parametrize("has_filter", [True, False], ids=["with tarfile's filter", "as in Python 3.10.11"])
def test_modes_and_owners_of_the_archive_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_filter: bool
) -> None:
    if not has_filter:
        monkeypatch.setattr(unpack_module, "_FILTER", {"filter": "fully_trusted"})
    unpack(write_archive(tmp_path / "train.tar.gz", *VALID), tmp_path / "train")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    for made, mine in [("train", "mine"), ("train/1.png", "mine/file")]:
        ours, theirs = (tmp_path / mine).stat(), (tmp_path / made).stat()
        assert stat.filemode(theirs.st_mode) == stat.filemode(ours.st_mode)
        assert theirs.st_uid == ours.st_uid


def test_names_that_begin_with_a_dot_and_a_missing_folder_entry_are_valid(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", member("./train/1.png", b"one"))
    unpack(archive, tmp_path / "train")
    assert (tmp_path / "train" / "1.png").read_bytes() == b"one"


@pytest.mark.parametrize("has_filter", [True, False], ids=["with tarfile's filter", "as in Python 3.10.11"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("../evil", b"x"), "the path of every member must stay inside the folder. Received: ../evil"),
        (
            member("train/../../evil", b"x"),
            "the path of every member must stay inside the folder. Received: train/../../evil",
        ),
        (member("/evil", b"x"), "the path of every member must stay inside the folder. Received: /evil"),
        (member("..\\evil", b"x"), "the path of every member must stay inside the folder. Received: ..\\evil"),
        (member("C:evil", b"x"), "the path of every member must stay inside the folder. Received: C:evil"),
        (
            member("../evil/", kind=tarfile.DIRTYPE),
            "the path of every member must stay inside the folder. Received: ../evil",
        ),
        (
            member("train/link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
            "the member train/link must be a file or a folder. Received: a link to /etc/passwd",
        ),
        (
            member("train/link", kind=tarfile.LNKTYPE, link="train/1.png"),
            "the member train/link must be a file or a folder. Received: a link to train/1.png",
        ),
        (
            member("train/null", kind=tarfile.CHRTYPE),
            "the member train/null must be a file or a folder. Received: a special file of tar type b'3'",
        ),
        (
            member("train/pipe", kind=tarfile.FIFOTYPE),
            "the member train/pipe must be a file or a folder. Received: a special file of tar type b'6'",
        ),
        (
            member("train/odd", kind=b"Z"),
            "the member train/odd must be a file or a folder. Received: a special file of tar type b'Z'",
        ),
    ],
    ids=lambda value: f"{value[0].type.decode()} {value[0].name}" if isinstance(value, tuple) else "",
)
def test_a_member_that_could_do_harm_is_named_and_nothing_appears(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: tuple[tarfile.TarInfo, bytes],
    message: str,
    has_filter: bool,
) -> None:
    if not has_filter:
        monkeypatch.setattr(unpack_module, "_FILTER", {"filter": "fully_trusted"})
    folder = tmp_path / "data"
    folder.mkdir()
    archive = write_archive(folder / "train.tar.gz", *VALID, bad)
    with pytest.raises(UserError) as caught:
        unpack(archive, folder / "train")
    assert str(caught.value) == f"{archive}: {message}"
    assert [path.name for path in folder.iterdir()] == ["train.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_truncated_archive_is_an_error_at_every_length(tmp_path: Path) -> None:
    complete = write_archive(tmp_path / "train.tar.gz", *VALID).read_bytes()
    archive = tmp_path / "short.tar.gz"
    for length in range(0, len(complete), 5):
        archive.write_bytes(complete[:length])
        with pytest.raises(UserError, match=r"short\.tar\.gz: must be a complete tar\.gz archive\. Received: \S"):
            unpack(archive, tmp_path / "train")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["short.tar.gz", "train.tar.gz"]


def test_a_damaged_header_is_not_the_end_of_the_archive(tmp_path: Path) -> None:
    plain = bytearray(gzip.decompress(write_archive(tmp_path / "train.tar.gz", *VALID).read_bytes()))
    second_picture = plain.index(b"train/2.png")
    plain[second_picture] ^= 1
    (tmp_path / "train.tar.gz").write_bytes(gzip.compress(bytes(plain)))
    with pytest.raises(UserError) as caught:
        unpack(tmp_path / "train.tar.gz", tmp_path / "train")
    assert str(caught.value) == (
        f"{tmp_path}/train.tar.gz: must be a complete tar.gz archive. "
        f"Received: a damaged header at byte {second_picture} of the unpacked archive"
    )


def test_a_wrong_checksum_at_the_very_end_is_an_error(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", *VALID)
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    with pytest.raises(
        UserError, match=r"train\.tar\.gz: must be a complete tar\.gz archive\. Received: CRC check failed"
    ):
        unpack(archive, tmp_path / "train")
    assert not (tmp_path / "train").exists()


def test_an_archive_without_the_folder_is_an_error(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", member("test/1.png", b"x"), member("notes", b"x"))
    with pytest.raises(UserError) as caught:
        unpack(archive, tmp_path / "train")
    assert str(caught.value) == f"{archive}: must contain a folder named train. Received: notes, test"
    assert [path.name for path in tmp_path.iterdir()] == ["train.tar.gz"]


def test_an_existing_folder_is_never_touched(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", *VALID)
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError) as caught:
        unpack(archive, tmp_path / "train")
    assert str(caught.value) == (f"{archive}: the folder to unpack to must not exist. Received: {tmp_path / 'train'}")
    assert list((tmp_path / "train").iterdir()) == []


def test_an_interrupt_leaves_only_the_archive(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "train.tar.gz", *VALID)
    seen: list[str] = []

    def interrupt(position: int) -> None:
        seen.extend(path.name for path in tmp_path.glob(".train.partial-*"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "train", interrupt)
    assert len(seen) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["train.tar.gz"]


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in [".train.partial-abc/train", ".test.partial-abc/test", "train"]:
        (tmp_path / name).mkdir(parents=True)
    remove_leftovers(tmp_path / "train")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".test.partial-abc", "train"]
