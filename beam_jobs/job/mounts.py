"""Local paths of a job on a cluster: every worker must see them."""

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from beam_jobs.sources.base import Subset
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_MOUNT = "mount it there or use s3://, gs://"
_seen: set["Mounts"] = set()
"""What this process has seen already."""
_MOST_SEEN = 64
"""Mounts that are remembered: a worker of a stream lasts for thousands of jobs' worth of them."""


@dataclass(frozen=True)
class Mounts:
    """Local paths that every worker must see.

    Attributes:
      reads: Absolute paths of files and folders that workers read.
      output: Absolute path that workers write to, for messages; empty if it is at an address.
      marker: Absolute path of a file that the launcher writes where workers write; empty if that is at an address.
    """

    reads: tuple[str, ...] = ()
    output: str = ""
    marker: str = ""

    def writing(self, output: Place, folder: Place) -> "Mounts":
        """Returns these mounts with the output of the job.

        Args:
          output: Place of what the job writes.
          folder: Place of the existing folder of its unfinished files.
        """
        if output.is_remote:
            return self
        return replace(self, output=str(output), marker=str(folder / f".launcher-{uuid.uuid4().hex}"))

    @contextlib.contextmanager
    def marked(self, is_running: Callable[[], bool] = bool) -> Iterator[None]:
        """Writes the marker while the block runs.

        Args:
          is_running: Function that returns whether the job goes on after the block, and needs the marker.

        Raises:
          UserError: It cannot be written.
        """
        if not self.marker:
            yield
            return
        path = Path(self.marker)
        try:
            path.write_text(socket.gethostname())
        except OSError as error:
            raise UserError(f"{self.output} cannot be written.", error.strerror) from error
        try:
            yield
        finally:
            # The folder may be gone with everything in it.
            with contextlib.suppress(OSError):
                if not is_running():
                    path.unlink()

    def fault(self) -> str | None:
        """Returns the line about what this process does not see or cannot write, or None."""
        if self in _seen:
            return None
        worker = f"worker {socket.gethostname()}"
        unseen = next((path for path in self.reads if not os.access(path, os.R_OK)), None)
        if unseen is None and self.marker and not os.access(self.marker, os.R_OK):
            unseen = self.output
        if unseen is not None:
            return f"{worker} does not see {unseen}; {_MOUNT}"
        try:
            if self.marker:
                probe = Path(f"{self.marker}-{socket.gethostname()}-{os.getpid()}")
                probe.touch()
                probe.unlink()
        except OSError as error:
            return f"{worker} cannot write to {self.output} ({error.strerror}); {_MOUNT}"
        if len(_seen) >= _MOST_SEEN:
            _seen.clear()
        _seen.add(self)
        return None

    def require(self) -> None:
        """Checks that this process sees all of it: once.

        Raises:
          UserError: It does not.
        """
        if fault := self.fault():
            raise UserError(fault)


def mounts_of(subsets: Iterable[Subset]) -> Mounts:
    """Returns the local paths that workers read."""
    paths = (path for subset in subsets for path in (subset.path, subset.pictures) if path)
    return Mounts(tuple(dict.fromkeys(path for path in paths if not Place(path).is_remote)))
