"""A disk that forgets what was not synced: what a power cut would leave, from the calls that a program makes."""

import os
import stat
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrecords.files import publish


class ForgetfulDisk:
    """What is on the disk: the bytes of each synced file and the names in each synced folder, by inode.

    Renames, deletions and writes since the last `os.fsync` of their file or folder, or of everything, are lost.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, on_sync: Callable[[], None] | None = None) -> None:
        """Watches the calls; what is in `root` already is on the disk.

        Args:
          root: Folder that can be read with `files`.
          monkeypatch: Fixture that removes the watch.
          on_sync: Function to call after each sync: a power cut may come at any time, but changes the disk there only.
        """
        self._root = root
        self._files: dict[int, bytes] = {}
        self._folders: dict[int, dict[str, int]] = {}
        self._held: dict[int, int] = {}
        weakref.finalize(self, _close, self._held)
        self.syncs = 0
        for path in (root, *root.rglob("*")):
            self._store(path)
        fsync, sync_all, on_sync = os.fsync, publish._sync_file_system, on_sync or (lambda: None)

        def watched(descriptor: int) -> None:
            fsync(descriptor)
            self._store(Path(f"/proc/self/fd/{descriptor}").readlink())
            self.syncs += 1
            on_sync()

        def watched_all(folder: Path) -> None:
            sync_all(folder)
            for path in (root, *root.rglob("*")):
                self._store(path)
            self.syncs += 1
            on_sync()

        monkeypatch.setattr(os, "fsync", watched)
        monkeypatch.setattr(publish, "_sync_file_system", watched_all)

    def files(self) -> dict[str, bytes]:
        """Returns the bytes of each file below the root by its path; a file that was never synced is empty."""
        return dict(self._walk(self._root.stat().st_ino, ""))

    def _store(self, path: Path) -> None:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            self._folders[status.st_ino] = {each.name: self._inode(each) for each in path.iterdir()}
        elif stat.S_ISREG(status.st_mode):
            self._files[status.st_ino] = path.read_bytes()

    def _inode(self, path: Path) -> int:
        inode = path.lstat().st_ino
        if inode not in self._held:
            # A file that is open keeps its inode after its deletion, so that no other file gets it.
            self._held[inode] = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        return inode

    def _walk(self, folder: int, prefix: str) -> list[tuple[str, bytes]]:
        found = []
        for name, inode in self._folders[folder].items():
            if inode in self._folders:
                found += self._walk(inode, f"{prefix}{name}/")
            else:
                found.append((prefix + name, self._files.get(inode, b"")))
        return found


def _close(held: dict[int, int]) -> None:
    for descriptor in held.values():
        os.close(descriptor)
