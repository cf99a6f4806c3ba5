"""What becomes of a batch when a snapshot holds it, also under kills."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_jobs.watch.inboxes import after
from beam_jobs.watch.inboxes.after import After
from tests.stores import Bucket
from tfrecords.errors import UserError
from tfrecords.files.place import Place

TREE = {"n.csv": b"file_name,text\n", "photos/1.png": b"1", "photos/2.png": b"2" * 5000, ".hidden": b"h"}
Tree = dict[str, bytes]


def put(folder: Path, tree: Tree) -> Path:
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tree_of(folder: Path) -> Tree:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def other_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes each rename one to another file system, but for that of a batch that is deleted."""
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)


def test_the_option_says_what_becomes_of_a_batch() -> None:
    assert After.parse("keep") == After("keep")
    assert After.parse("delete") == After("delete")
    assert After.parse("archive s3://bucket/a b") == After("archive", Place("s3://bucket/a b"))


@pytest.mark.parametrize("text", ["", "archive", "keep it", "remove", "archive https://example.org/x"])
def test_other_options_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        After.parse(text)


def test_an_archive_in_the_inbox_is_refused_unless_its_name_is_ignored(tmp_path: Path) -> None:
    for name in ("in", "in/done"):
        with pytest.raises(UserError, match="must be outside of"):
            After("archive", Place(tmp_path / name)).check(Place(tmp_path / "in"))
    for name in ("in/_done", "in/.done/x", "in2", "."):
        After("archive", Place(tmp_path / name)).check(Place(tmp_path / "in"))
    with pytest.raises(UserError, match="must be outside of"):
        After("archive", Place("s3://b/in/done")).check(Place("s3://b/in"))


def test_a_batch_that_is_kept_stays(tmp_path: Path) -> None:
    folder = put(tmp_path / "b", TREE)
    After.parse("keep").finish(Place(folder))
    assert tree_of(folder) == TREE


def test_a_batch_is_deleted_and_again(tmp_path: Path) -> None:
    folder = put(tmp_path / "in" / "b", TREE)
    put(tmp_path / "in", {"c.csv": b"1"})
    for name in ("b", "b", "c.csv", "c.csv"):
        After.parse("delete").finish(Place(tmp_path / "in" / name))
    assert not folder.exists() and list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("by", ["the batch", "the inbox"])
def test_a_batch_whose_deletion_was_killed_has_no_name_any_more(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "in" / "b", TREE)

    def killed(self: Place) -> None:
        if self.path.exists():
            (self.path / "n.csv").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Place, "delete_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            After.parse("delete").finish(Place(folder))
    assert [path.name[:1] for path in (tmp_path / "in").iterdir()] == ["."]
    After.parse("keep").clean(Place(tmp_path / "in"))
    assert len(list((tmp_path / "in").iterdir())) == 1
    again = After.parse("delete")
    again.finish(Place(folder)) if by == "the batch" else again.clean(Place(tmp_path / "in"))
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_a_batch_is_moved_and_never_over_another(disk: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if disk == "another":
        request.getfixturevalue("other_disk")
    archive = After.parse(f"archive {tmp_path / 'deep' / 'done'}")
    trees = [TREE, {**TREE, "n.csv": b"other"}, {"n.csv": b"third", "x": b""}]
    for tree in trees:
        folder = put(tmp_path / "in" / "b", tree)
        archive.finish(Place(folder))
        archive.finish(Place(folder))
        assert not folder.exists()
    done = tmp_path / "deep" / "done"
    assert [tree_of(done / name) for name in ("b", "b-2", "b-3")] == trees
    for data in (b"1", b"2"):
        put(tmp_path / "in", {"c.v1.csv": data})
        archive.finish(Place(tmp_path / "in" / "c.v1.csv"))
    assert [(done / name).read_bytes() for name in ("c.v1.csv", "c-2.v1.csv")] == [b"1", b"2"]
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.usefixtures("other_disk")
@pytest.mark.parametrize("kill_at", range(1, 12))
def test_a_move_to_another_disk_that_was_killed_is_completed(
    kill_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "in" / "b", TREE)
    put(tmp_path / "done" / "b", {"n.csv": b"another batch"})
    archive = After.parse(f"archive {tmp_path / 'done'}")
    steps = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                raise KeyboardInterrupt
            return function(*given, **named)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(Place, "write", counted(Place.write))
        patched.setattr(after, "_is_same", counted(after._is_same))
        patched.setattr(os, "unlink", counted(os.unlink))
        try:
            archive.finish(Place(folder))
        except KeyboardInterrupt:
            assert archive.has_begun(Place(folder)) == (folder.exists() and tree_of(tmp_path / "done" / "b-2") == TREE)
    archive.finish(Place(folder))
    assert list((tmp_path / "in").iterdir()) == []
    assert {path.name: tree_of(path) for path in (tmp_path / "done").iterdir()} == {
        "b": {"n.csv": b"another batch"},
        "b-2": TREE,
    }


@pytest.mark.usefixtures("other_disk")
def test_a_copy_with_other_bytes_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "in" / "b", TREE)
    monkeypatch.setattr(Place, "write", lambda self, _: put(self.path.parent, {self.name: b"bad"}))
    with pytest.raises(UserError, match="must be a copy of"):
        After.parse(f"archive {tmp_path / 'done'}").finish(Place(folder))
    assert tree_of(folder) == TREE


def test_a_batch_that_cannot_be_moved_is_one_line(tmp_path: Path) -> None:
    folder = put(tmp_path / "in" / "b", TREE)
    put(tmp_path, {"done": b"a file"})
    with pytest.raises(UserError, match=r"in/b must be moved, since a snapshot holds it\. Received: .*done"):
        After.parse(f"archive {tmp_path / 'done'}").finish(Place(folder))


def test_a_real_kill_while_a_batch_is_copied_loses_nothing(tmp_path: Path) -> None:
    """A process is killed at the third file that it writes to the archive; another one completes the move."""
    folder = put(tmp_path / "in" / "b", TREE)
    code = f"""
import errno, os, pathlib, signal
from beam_jobs.watch.inboxes.after import After
from tfrecords.files.place import Place
def refuse(self, target): raise OSError(errno.EXDEV, "another disk", str(self))
write, count = Place.write, []
def killed(self, chunks):
    count.append(1)
    if len(count) == 3: os.kill(os.getpid(), signal.SIGKILL)
    write(self, chunks)
import beam_jobs.watch.inboxes.after as after
after._is_renamed = lambda *_: False
Place.write = killed
After.parse("archive {tmp_path / "done"}").finish(Place("{folder}"))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert tree_of(folder) == TREE and len(tree_of(tmp_path / "done")) == 2
    After.parse(f"archive {tmp_path / 'done'}").finish(Place(folder))
    assert tree_of(tmp_path / "done" / "b") == TREE and not folder.exists()


def test_a_batch_of_a_store_is_moved_to_a_folder_and_to_the_store(bucket: Bucket, tmp_path: Path) -> None:
    for name, data in TREE.items():
        bucket.put(f"in/b/{name}", data)
        bucket.put(f"in/c/{name}", data)
    bucket.put("in/bc/n.csv", b"another batch")
    bucket.put("done/b/n.csv", b"another batch")
    After.parse(f"archive {tmp_path / 'done'}").finish(Place(f"{bucket.address}/in/c"))
    assert tree_of(tmp_path / "done" / "c") == TREE
    for _ in range(2):
        After.parse(f"archive {bucket.address}/done").finish(Place(f"{bucket.address}/in/b"))
    keys = {each["Key"] for each in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert keys == {"in/bc/n.csv", "done/b/n.csv", *(f"done/b-2/{name}" for name in TREE)}
    After.parse("delete").finish(Place(f"{bucket.address}/done/b-2"))
    keys = {each["Key"] for each in bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert keys == {"in/bc/n.csv", "done/b/n.csv"}
