"""The folder of source pictures: it is listed once, and only files of that listing are ever read."""

import os
import stat
import threading
from pathlib import Path

import google_crc32c

_MOST_FILES = 2_000_000
"""Files of a folder that are listed: some 200 bytes of memory each."""
_MOST_BYTES = 256 << 20
"""Size of a file that is not read any more: no picture that can be decoded is as large."""


class SourceFolder:
    """Finds the file of a source picture by its subset and name.

    Names come from a dataset that anybody may have written. So no path is made of them: they are looked up among the
    paths that were found in the folder. Links are followed to files, not to folders.
    """

    def __init__(self, folder: Path) -> None:
        """Takes the folder, which is listed at the first use."""
        self.folder = folder
        self._paths: dict[str, str] | None = None
        self._names: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def find(self, subset: str, name: str) -> tuple[str | None, str]:
        """Returns the path of a picture's file in the folder, or None and why there is none.

        Args:
          subset: Name of the subset.
          name: Name of the picture.
        """
        paths = self._list()
        for path in (f"{subset}/{name}", f"{subset.partition('@')[0]}/{name}", name):
            if path in paths:
                return path, ""
        found = self._names.get(name.rpartition("/")[2], [])
        ends = [path for path in found if path.endswith(f"/{name}")] or found
        if len(ends) == 1:
            return ends[0], ""
        if ends:
            return None, f"{len(ends)} files of --input are called {name}, none of them in a folder {subset}."
        return None, f"--input has no file {name}."

    def read(self, path: str) -> bytes:
        """Returns the content of a file of the listing.

        Raises:
          OSError: It cannot be read, is no ordinary file, or is too large.
          KeyError: It is not in the listing.
        """
        # A pipe would be waited for.
        descriptor = os.open(self._list()[path], os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                raise OSError(0, f"it must be a file of at most {_MOST_BYTES >> 20} MiB", path)
            return stream.read()

    def _list(self) -> dict[str, str]:
        """Returns the path of each file by its path in the folder."""
        with self._lock:
            if self._paths is None:
                self._paths = {}
                for folder, folders, files in os.walk(self.folder):
                    folders.sort()
                    start = folder[len(str(self.folder)) :].strip("/")
                    for name in sorted(files):
                        relative = f"{start}/{name}" if start else name
                        self._paths[relative] = f"{folder}/{name}"
                        self._names.setdefault(name, []).append(relative)
                    if len(self._paths) > _MOST_FILES:
                        break
            return self._paths


def differs(data: bytes, source_bytes: int | None, source_crc32c: int | None) -> bool:
    """Returns whether a file is another one than a dataset was made of; False where nothing is known of it."""
    if source_bytes is not None and source_bytes != len(data):
        return True
    return source_crc32c is not None and google_crc32c.value(data) != source_crc32c
