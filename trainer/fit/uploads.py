"""Uploads of a run's files in the background: in order, each complete or not at all, without holding up training."""

import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place
from trainer.run.stand_in import upload

_MOST_WAITING = 2
"""Batches of files that wait. Each may hold a checkpoint; training waits where the uploads are slower than that."""
_PATIENCE_S = 600.0
"""Seconds for which an upload is retried, after the attempts of each request. Training goes on meanwhile."""
_PAUSE_S = 15.0
"""Seconds between these retries."""
_SHORT_WAIT_S = 5.0
"""Seconds of waiting for uploads that are not worth a line."""


class TakenOverError(UserError):
    """Another process writes at the address."""


@dataclass(frozen=True)
class Change:
    """A change at an address.

    Attributes:
      name: Relative path of the file, with `/`.
      copy: Local file with the content to upload, which is deleted afterwards; None deletes the file at the address.
      check: Function that is called first; it raises a TakenOverError where the change must not be made.
    """

    name: str
    copy: Path | None
    check: Callable[[], None] = lambda: None


class Uploads:
    """A thread that makes changes at an address, one after the other."""

    def __init__(self, place: Place) -> None:
        """Starts the thread with the first change.

        Args:
          place: Folder at an address.
        """
        self._place = place
        self._queue: queue.Queue[Sequence[Change] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._error: UserError | None = None
        self._stopping = threading.Event()

    def add(self, changes: Sequence[Change]) -> None:
        """Adds changes; waits while too many wait already.

        Raises:
          UserError: An earlier change could not be made. None is made after it.
        """
        self._raise_error()
        if not changes:
            return
        if self._thread is None:
            # A process that ends by itself waits in `wait`; one that is ended need not wait for the thread.
            self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
            self._thread.start()
        self._wait_for(lambda: not self._queue.full())
        self._queue.put(changes)

    def wait(self) -> None:
        """Waits until all changes are made.

        Raises:
          UserError: A change could not be made.
        """
        self._wait_for(lambda: not self._queue.unfinished_tasks)
        self._raise_error()

    def stop(self) -> None:
        """Gives up what is not uploaded yet, as far as it has not begun."""
        self._stopping.set()

    def _wait_for(self, is_done: Callable[[], bool]) -> None:
        """Waits for a condition, and prints a line where that takes long. Signals are handled meanwhile."""
        began, told = time.monotonic(), False
        while not is_done():
            if not told and time.monotonic() - began > _SHORT_WAIT_S:
                told = True
                print(f"note: waiting for uploads to {self._place}", file=sys.stderr, flush=True)
            time.sleep(0.02)

    def _raise_error(self) -> None:
        if self._error:
            raise self._error

    def _work(self) -> None:
        while True:
            changes = self._queue.get()
            try:
                for change in changes or ():
                    self._make(change)
            except UserError as error:
                self._error = error
            finally:
                self._queue.task_done()

    def _make(self, change: Change) -> None:
        """Makes a change, with retries; none after one that failed, which later ones may refer to."""
        began, told = time.monotonic(), False
        while not (self._error or self._stopping.is_set()):
            try:
                change.check()
                self._try(change)
                return
            except TakenOverError:
                raise
            except (UserError, OSError) as error:
                if time.monotonic() - began >= _PATIENCE_S:
                    rule = f"{self._place / change.name} could not be written for {_PATIENCE_S / 60:.0f} minutes."
                    raise UserError(rule, one_line(error)) from error
                if not told:
                    told = True
                    print(f"warning: {one_line(error)} The upload is tried again.", file=sys.stderr, flush=True)
                self._stopping.wait(_PAUSE_S)

    def _try(self, change: Change) -> None:
        place = self._place / change.name
        if change.copy is None:
            place.delete()
            return
        upload(change.copy, place)
        change.copy.unlink()


def snapshot(path: Path, copy: Path) -> None:
    """Makes a copy of a file that stays as it is: a second name of one that is only ever replaced as a whole.

    Args:
      path: File.
      copy: Path of the copy, on the same file system.
    """
    # Files of curves are small, and grow in place.
    if path.suffix in (".npz", ".h5"):
        try:
            copy.hardlink_to(path)
            return
        except OSError:
            pass  # a file system without links
    shutil.copyfile(path, copy)
