"""The folder that a training run works in: the run directory itself, or a local one in place of an address.

Training writes files as it always does, each complete or not at all. For a run at an address, `RunFolder.sync` then
hands what has changed to a thread that uploads it, in the order that keeps the run at the address one that can be
resumed: weights, the checkpoint that refers to them, curves, and deletions of older checkpoints last. A run that is
killed in between has its last complete checkpoint there.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import socket
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError
from tfrecords.files import remote
from tfrecords.files.place import Place
from tfrecords.files.purpose import check_purpose
from trainer.fit.uploads import Change, TakenOverError, Uploads, snapshot
from trainer.pretrained import find_pretrained
from trainer.run.cache_folder import CacheFolder
from trainer.run.directory import (
    CALIBRATION,
    CHECKPOINT_NAME,
    CHECKPOINTS,
    CONFIG,
    HISTORY,
    REPORT,
    TENSORBOARD,
    WEIGHTS,
)
from trainer.run.evaluations import is_shown
from trainer.run.stand_in import published_files, register

WRITER = "writer.json"
"""File at an address that says which process writes the run there, while it trains."""
_EVENTS = f"{TENSORBOARD}/events.out.tfevents."
_Signature = tuple[int, int, int]


class RunFolder:
    """Folder of a run.

    Attributes:
      place: Run directory, as the user gave it.
      path: Local folder: the run directory itself where it is local.
    """

    def __init__(self, place: Place, path: Path) -> None:
        """Makes the folder of a local run. Use `open_run_folder`."""
        self.place, self.path = place, path

    def prepare(self, overwrite: bool) -> None:
        """Publishes what the chief has prepared, and returns when it is there for the other hosts.

        Args:
          overwrite: Whether an earlier run is replaced.
        """

    def claim(self) -> None:
        """Marks the run as written by this process."""

    def refresh(self) -> None:
        """Takes over what the chief has published; called on the other hosts."""

    def sync(self) -> None:
        """Begins to publish what has changed."""

    def finish(self) -> None:
        """Waits until everything is published."""

    def abandon(self) -> None:
        """Gives up what is not published yet."""


class RemoteRunFolder(RunFolder):
    """Local folder in place of a run at an address."""

    def __init__(self, place: Place, path: Path, keep: int, spool: Path) -> None:
        """Copies nothing yet.

        Args:
          place: Run directory at an address.
          path: Local folder, empty.
          keep: Number of newest checkpoints to keep.
          spool: Folder for files that wait for their upload, on the same file system.
        """
        super().__init__(place, path)
        self._keep, self._spool = keep, spool
        self._uploads = Uploads(place)
        self._numbers = itertools.count()
        self._published: dict[str, _Signature] = {}
        self._there: set[str] = set()
        self._token, self._has_claimed = uuid.uuid4().hex, False

    def refresh(self) -> None:
        """Copies what a run needs to be resumed: configuration, curves, calibration, the newest complete checkpoint.

        Raises:
          UserError: The place cannot be read.
        """
        names = set(self.place.names())
        for name in (CONFIG, HISTORY, CALIBRATION):
            if name in names:
                self._fetch(name)
        checkpoints = [f"{CHECKPOINTS}/{name}" for name in (self.place / CHECKPOINTS).names()]
        self._there = {name for name in checkpoints if CHECKPOINT_NAME.fullmatch(name.rpartition("/")[2])}
        events = (f"{TENSORBOARD}/{name}" for name in (self.place / TENSORBOARD).names())
        self._there |= {name for name in events if name.startswith(_EVENTS)}
        for name in self._checkpoints():
            self._fetch(name)
            if _is_complete(self.path / name):
                return

    def prepare(self, overwrite: bool) -> None:
        """Publishes what the chief has prepared, and returns when it is there for the other hosts.

        Args:
          overwrite: Whether an earlier run is replaced: its files are deleted first.

        Raises:
          UserError: The place cannot be written.
        """
        if overwrite:
            self._delete_run()
        self.sync()
        self._uploads.wait()

    def claim(self) -> None:
        """Marks the run as written by this process; another one that writes it ends before its next upload.

        A store has no locks, and a process that was killed can not take back that it writes. So the last one wins: it
        is the one that was started to take the place of another.

        Raises:
          UserError: The place cannot be written.
        """
        writer = {"token": self._token, "host": socket.gethostname(), "process": os.getpid()}
        (self.place / WRITER).write([(json.dumps(writer) + "\n").encode()])
        self._has_claimed = True

    def sync(self) -> None:
        """Begins to publish what has changed; waits only where the uploads are slower than the checkpoints.

        Raises:
          UserError: An earlier upload has failed, or another process writes the run.
        """
        changes, check = [], self._check_writer if self._has_claimed else _nothing
        for name in sorted(published_files(self.path), key=_order):
            signature = _signature(self.path / name)
            if name.rpartition("/")[2].startswith(".") or self._published.get(name) == signature:
                continue
            copy = self._spool / str(next(self._numbers))
            snapshot(self.path / name, copy)
            self._published[name] = signature
            self._there.add(name)
            changes.append(Change(name, copy, check))
        stale = self._checkpoints()[self._keep :]
        stale += [name for name in self._there if name.startswith(_EVENTS) and not (self.path / name).exists()]
        self._there -= set(stale)
        self._uploads.add([*changes, *(Change(name, None, check) for name in sorted(stale))])

    def finish(self) -> None:
        """Waits until everything is published.

        Raises:
          UserError: A file could not be published.
        """
        self.sync()
        self._uploads.wait()
        if self._has_claimed:
            # Without the mark that it finds, another process that has taken over would end too.
            self._check_writer()
            (self.place / WRITER).delete()
            self._has_claimed = False

    def abandon(self) -> None:
        """Gives up what is not published yet."""
        self._uploads.stop()

    def _fetch(self, name: str) -> None:
        path = self.path / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            remote.download(str(self.place / name), path)
            self._published[name] = _signature(path)

    def _checkpoints(self) -> list[str]:
        """Returns the checkpoints at the address, with those that wait for their upload, the newest first."""
        return sorted(filter(_is_checkpoint, self._there), reverse=True)

    def _delete_run(self) -> None:
        """Deletes the files of the run at the address: what names it first."""
        found = [
            name for name in self.place.names() if is_shown(name) or name in (WEIGHTS, CALIBRATION, REPORT, WRITER)
        ]
        for name in sorted(found, key=lambda name: name != CONFIG):
            (self.place / name).delete()
        for name in (TENSORBOARD, CHECKPOINTS):
            (self.place / name).delete_folder()
        self._there = set()
        self._published = {}

    def _check_writer(self) -> None:
        """Raises a TakenOverError if another process has begun to write the run: files must not be mixed.

        An error of the store is raised as it is: it says nothing about another process.
        """
        try:
            content = (self.place / WRITER).read_bytes()
        except FileNotFoundError:
            content = b"{}"
        try:
            writer: Any = json.loads(content)
        except ValueError:
            writer = {}
        if not isinstance(writer, dict) or writer.get("token") != self._token:
            who = f"process {writer.get('process')} on {writer.get('host')}" if writer else f"no {WRITER}"
            raise TakenOverError(f"Another training has taken over the run in {self.place}: this one ends.", who)


def _nothing() -> None:
    """Checks nothing."""


def _is_checkpoint(name: str) -> bool:
    return name.startswith(f"{CHECKPOINTS}/")


def _order(name: str) -> tuple[int, str]:
    """Returns the key by which files are published: each after those that it refers to."""
    firsts = (CONFIG, WEIGHTS, f"{CHECKPOINTS}/", HISTORY, "")
    return next(index for index, first in enumerate(firsts) if name.startswith(first)), name


def _signature(path: Path) -> _Signature:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _is_complete(path: Path) -> bool:
    """Returns whether a checkpoint is undamaged, by the CRC-32 of its parts."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    # zipfile and zlib raise whatever a damaged file leads them to.
    except Exception:
        return False


def check_run_directory(place: Place, with_store: bool = True) -> None:
    """Checks that a place may become a run directory.

    Args:
      place: Run directory.
      with_store: Whether to look at what is at an address.

    Raises:
      UserError: Other commands would take it for the package's weights, or it has another purpose.
    """
    if not place.is_remote:
        if own := find_pretrained(place.path):
            rule = f"--run-dir must not be the weights of the package, which the name {own.name} means."
            raise UserError(rule, place)
        check_purpose("--run-dir", place.path, "a run")
        return
    if not place.has_listing:
        raise UserError("--run-dir must be local or in a store, as s3:// or gs://: a web server takes none.", place)
    if with_store and MANIFEST in place.names():
        raise UserError("--run-dir must be another folder than one of a dataset.", place)


@contextlib.contextmanager
def open_run_folder(place: Place, cache: CacheFolder, keep: int, host: int, overwrite: bool) -> Iterator[RunFolder]:
    """Yields the folder of a run; at the end of the block, everything in it is published.

    The local folder in place of an address is emptied first: the run at the address is the one that counts.

    Args:
      place: Run directory.
      cache: Folder that the local folder is made in.
      keep: Number of newest checkpoints to keep.
      host: Index of the host; the first one writes the run.
      overwrite: Whether an earlier run will be replaced, and so is not copied.

    Raises:
      UserError: Another process of this machine trains the run, or the place cannot be read or written.
    """
    if not place.is_remote:
        yield RunFolder(place, place.path)
        return
    digest = hashlib.sha256(f"{place}\n{host}".encode()).hexdigest()[:16]
    root = cache.runs / digest
    with _locked(root, place):
        for name in ("run", "spool"):
            shutil.rmtree(root / name, ignore_errors=True)
        path = root / "run" / (place.name.replace("/", "_") or "run")
        for each in (path, root / "spool"):
            each.mkdir(parents=True)
        register(place, path)
        folder = RemoteRunFolder(place, path, keep, root / "spool")
        if not overwrite:
            folder.refresh()
        try:
            yield folder
        except KeyboardInterrupt:
            folder.abandon()
            raise
        except BaseException:
            _publish_rest(folder, host)
            raise
        _publish_rest(folder, host)
        shutil.rmtree(root, ignore_errors=True)


def _publish_rest(folder: RemoteRunFolder, host: int) -> None:
    if host == 0:
        folder.finish()


@contextlib.contextmanager
def _locked(root: Path, place: Place) -> Iterator[None]:
    """Locks the local folder of a run while the block runs; the lock of a killed process is free.

    Raises:
      UserError: Another process has locked it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError("Another process of this machine trains the run: wait for its end.", place) from error
        except OSError:
            print(f"warning: {root} cannot be locked: one process at a time must use it", file=sys.stderr)
        yield
