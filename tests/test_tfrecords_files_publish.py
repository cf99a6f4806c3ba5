"""Files and folders that appear complete or not at all, also after a power cut."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import quick_disk
from tests.forgetful import ForgetfulDisk
from tests.forked import Forked
from tfrecords.errors import one_line
from tfrecords.files.publish import atomic_path, atomic_write, create, make_folder, remove, reserve, sync


def test_a_file_appears_complete_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "file") as stream:
        stream.write(b"whole")
        assert not (tmp_path / "new" / "file").exists()
    assert (tmp_path / "new" / "file").read_bytes() == b"whole"


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="broken"), atomic_write(tmp_path / "file") as stream:
        stream.write(b"half")
        raise RuntimeError("broken")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "new" / "folder") as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("content")
        assert temporary.parent == tmp_path / "new"
        assert not (tmp_path / "new" / "folder").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]
    assert (tmp_path / "new" / "folder" / "file").read_text() == "content"


@pytest.mark.parametrize("new_kind", ["folder", "file"])
def test_an_existing_folder_is_replaced_with_all_its_files(tmp_path: Path, new_kind: str) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / "old").write_text("old")
    with atomic_path(output) as temporary:
        if new_kind == "folder":
            temporary.mkdir()
            (temporary / "new").write_text("new")
        else:
            temporary.write_text("new")
        assert (output / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    if new_kind == "folder":
        assert [path.name for path in output.iterdir()] == ["new"]
    else:
        assert output.read_text() == "new"


def test_a_block_that_raises_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / "old").write_text("old")
    with pytest.raises(RuntimeError, match="broken"), atomic_path(output) as temporary:
        temporary.mkdir()
        (temporary / "half").touch()
        raise RuntimeError("broken")
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    assert (output / "old").read_text() == "old"


def test_a_block_that_raises_before_it_makes_anything_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "file"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5", "picture.png"])
def test_the_temporary_name_keeps_the_suffixes_and_is_hidden(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.suffix == Path(name).suffix
        assert temporary.name.startswith(".") and temporary.name.endswith(name)
        temporary.touch()


def test_remove_removes_files_folders_and_links_but_not_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    assert (tmp_path / "folder" / "inner").is_dir()
    remove(tmp_path / "folder")
    remove(tmp_path / "missing")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_put_back_where_nothing_can_replace_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out"):
        pass  # makes nothing: the second rename fails
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "kept").read_text() == "old"


def test_a_link_to_a_folder_is_replaced_and_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "folder")
    with atomic_path(tmp_path / "out") as temporary:
        temporary.mkdir()
    assert not (tmp_path / "out").is_symlink() and (tmp_path / "folder").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out"]


def _kill(path: Path, when: str) -> int:
    """Publishes a folder and dies in the block, or between the two renames."""
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
        if when == "in the block":
            os.kill(os.getpid(), signal.SIGKILL)

        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        Path.replace = die  # type: ignore[assignment]
    return 0


@pytest.mark.parametrize("when", ["in the block", "between the renames"])
def test_the_only_writer_removes_what_a_killed_one_left(tmp_path: Path, when: str) -> None:
    # Not its own: of a file with another name, or of one whose name ends in the same way.
    output, others = tmp_path / "out", [tmp_path / f".partial.{'1' * 32}.{name}" for name in ("another", "my.out")]
    for folder in (output, *others):
        folder.mkdir()
    assert Forked(_kill, output, when).wait()[0] == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 4
    with atomic_path(output, sole_writer=True) as temporary:
        temporary.mkdir()
        assert sum(path.name.startswith(".partial") for path in tmp_path.iterdir()) == 3
    assert sorted(tmp_path.iterdir()) == [*others, output]


# --- power cuts


def test_a_file_and_its_new_folders_are_on_the_disk_when_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = ForgetfulDisk(tmp_path, monkeypatch)
    with atomic_write(tmp_path / "new" / "inner" / "file") as stream:
        stream.write(b"whole")
    assert disk.files() == {"new/inner/file": b"whole"}


def test_a_real_disk_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[str]()

    def watched(descriptor: int) -> None:
        quick_disk.fsync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_write(tmp_path / "new" / "file") as stream:
        stream.write(b"whole")
    assert "new" in synced and any("file" in name for name in synced)


def test_no_power_cut_leaves_half_of_a_file_or_none_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"old")
    seen = []
    disk = ForgetfulDisk(tmp_path, monkeypatch, lambda: seen.append(disk.files().get("file")))
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"whole")
    assert seen == [b"old", b"whole"]


@pytest.mark.parametrize("count", [1, 150])
def test_a_folder_is_on_the_disk_with_everything_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_bytes(b"old")
    whole = {f"out/inner/{index}": b"%d" % index for index in range(count)}
    seen: set[str] = set()

    def look() -> None:
        found = disk.files()
        seen.add("new" if whole.items() <= found.items() else "old" if "out/old" in found else "neither")

    disk = ForgetfulDisk(tmp_path, monkeypatch, look)
    with atomic_path(tmp_path / "out") as temporary:
        (temporary / "inner").mkdir(parents=True)
        for index in range(count):
            (temporary / "inner" / str(index)).write_bytes(b"%d" % index)
    assert seen == {"old", "new"}
    assert set(disk.files()) >= set(whole)
    assert disk.syncs < 6, "many files are not synced one by one"


def test_a_scratch_folder_elsewhere_changes_nothing_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scratch", "out"):
        (tmp_path / name).mkdir()
    disk = ForgetfulDisk(tmp_path, monkeypatch)
    with atomic_path(tmp_path / "out" / "file", tmp_path / "scratch") as temporary:
        temporary.write_bytes(b"whole")
    assert disk.files() == {"out/file": b"whole"}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_file_system_that_cannot_sync_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_disk_that_fails_to_store_a_file_is_an_error_and_nothing_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"), atomic_write(tmp_path / "file") as stream:
        stream.write(b"half")
    assert not list(tmp_path.iterdir())


def test_links_and_pipes_in_a_folder_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "folder" / "pipe")
    disk = ForgetfulDisk(tmp_path, monkeypatch)
    sync(tmp_path / "folder")
    make_folder(tmp_path / "folder")
    assert disk.syncs == 1


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may have 4 kB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, atomic_write(tmp_path / "file") as stream:
        stream.write(bytes(10_000))
    assert one_line(caught.value) == f"{tmp_path / 'file'}: File too large"
    with pytest.raises(OSError, match="File too large"), atomic_path(tmp_path / "file") as temporary:
        reserve(temporary, 10_000)
    assert not list(tmp_path.iterdir())


def test_an_error_of_hdf5_is_one_line() -> None:
    error = OSError(errno.EFBIG, "Unable to extend file (time = Sat\n, filename = x)")
    assert one_line(error) == "a file cannot be read or written: File too large"


def test_an_error_names_the_path_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "file") as temporary:
        temporary.stat()
    assert one_line(caught.value) == f"{tmp_path / 'file'}: No such file or directory"
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "file"):
        (tmp_path / "other").stat()
    assert one_line(caught.value) == f"{tmp_path / 'other'}: No such file or directory"


def test_one_of_several_creates_a_file_and_the_others_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log" / "00000000.json"
    assert create(path, b"first")
    assert not create(path, b"second")
    assert path.read_bytes() == b"first"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_is_created_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", link)
    assert create(tmp_path / "file", b"first")
    assert not create(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_created_file_is_complete_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    disk = ForgetfulDisk(tmp_path, monkeypatch, lambda: seen.append(disk.files().get("log/file")))
    create(tmp_path / "log" / "file", b"whole")
    assert set(seen) == {None, b"whole"}
    assert disk.files() == {"log/file": b"whole"}
