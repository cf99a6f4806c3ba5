"""Growing files of JSON lines as a log: each file is a partition, and positions are bytes.

Only lines that end are read. A file only grows: one that is shorter than what was read of it, or has other bytes before
that position, is refused once and read no further. A program that writes them starts a new file with a new name instead
of renaming the old one.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping

from beam_jobs.watch.batch import CHANGED, Positions
from beam_jobs.watch.inboxes.log import PATIENCE_S, LogInbox, Look, Lost, Mark, Run, note
from beam_jobs.watch.inboxes.messages import LONGEST_MESSAGE, Message
from tfrecords.errors import UserError
from tfrecords.files import remote
from tfrecords.files.place import Place

SUFFIX = ".jsonl"
"""Ending of the names of files that are read."""
_CHUNK = 64 << 20
"""Bytes of a file that one look reads; a longer line is skipped in pieces of this size."""
_PIECE = 4 << 20
"""Bytes that are read at once: of short lines, few of a chunk are wanted."""
_TAIL = 1024
"""Bytes before a position that say whether the file is the one that was read."""


class LinesInbox(LogInbox):
    """The inbox of growing files."""

    def __init__(
        self,
        place: Place,
        stream: Place,
        *,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = note,
    ) -> None:
        """Takes the place; nothing is read.

        Args:
          place: File, or folder of files that end in .jsonl.
          stream: Stream with the spool.
          patience_s: Time after which pictures at addresses that cannot be reached are refused, seconds.
          now: Clock, seconds.
          say: Function that prints a line.
        """
        super().__init__(Lines(place), stream, patience_s=patience_s, now=now, say=say)


class Lines:
    """Growing files as a `Log`."""

    def __init__(self, place: Place) -> None:
        """Takes a file, or a folder of files that end in .jsonl."""
        self.place = place

    def look(self, marks: Mapping[str, Mark], most: int) -> Look:
        """Reads new lines of each file; see `Log`.

        Raises:
          UserError: The file or folder is not there, or cannot be read.
        """
        look = Look()
        for name, size in sorted(self._sizes().items()):
            mark = marks.get(name, Mark(0))
            try:
                fault = self._fault(name, mark, size)
                if fault:
                    look.lost.append(Lost(Positions(name, mark.position, mark.position), fault, CHANGED))
                elif size > mark.position and most > 0:
                    found = list(self._lines(name, mark.position, size, most))
                    most -= len(found)
                    if found:
                        look.runs[name] = Run(mark.position, found)
                    elif self._bytes(name, size - 1, size) != b"\n":
                        look.waiting.add(name)
            except OSError:
                # Gone since it was listed, or not readable yet.
                look.waiting.add(name)
        return look

    def read(self, positions: Positions) -> list[Message]:
        """Returns the lines between two positions; see `Log`."""
        try:
            size = self._sizes().get(positions.partition, 0)
            if size < positions.stop:
                return []
            return list(self._lines(positions.partition, positions.start, positions.stop, positions.stop))
        except OSError:
            return []

    def stamp(self, partition: str, position: int) -> str:
        """Returns the digest of the bytes before a position."""
        tail = self._bytes(partition, max(0, position - _TAIL), position)
        return hashlib.sha256(tail).hexdigest()

    def _fault(self, name: str, mark: Mark, size: int) -> str:
        """Returns in what way a file is not the one that was read; empty if it is."""
        if size < mark.position:
            rule = f"{self._file(name)} must only grow: it was read to byte {mark.position:,}."
            return f"{rule} Received: {size:,} bytes. It is read no further: write new lines to a file of another name."
        if size > mark.position and mark.stamp and self.stamp(name, mark.position) != mark.stamp:
            rule = f"{self._file(name)} must only grow: what was read of it must stay as it was."
            return f"{rule} Received: other bytes before byte {mark.position:,}. It is read no further."
        return ""

    def _sizes(self) -> dict[str, int]:
        """Returns the size of each file, by name.

        Raises:
          UserError: There is no such file or folder.
        """
        try:
            if self.place.is_file():
                place = self.place
                return {place.name: remote.size(str(place)) if place.is_remote else place.path.stat().st_size}
            if self.place.is_dir():
                return {name: size for name, size in self._listed() if name.endswith(SUFFIX) and name[0] not in "._"}
        except OSError as error:
            raise UserError("The input must be readable.", f"{self.place} ({error.strerror})") from error
        raise UserError(f"The input must be a file of JSON lines, or a folder of *{SUFFIX}, that exists.", self.place)

    def _listed(self) -> Iterator[tuple[str, int]]:
        if self.place.is_remote:
            for name, (size, _) in remote.stated(str(self.place)).items():
                yield name, size or 0
            return
        for path in self.place.path.iterdir():
            if path.is_file():
                yield path.name, path.stat().st_size

    def _file(self, name: str) -> Place:
        return self.place if self.place.suffix == SUFFIX and self.place.name == name else self.place / name

    def _bytes(self, name: str, start: int, stop: int) -> bytes:
        file = self._file(name)
        if file.is_remote:
            return remote.read_bytes(str(file), start, stop) if start < stop else b""
        with file.path.open("rb") as stream:
            stream.seek(start)
            return stream.read(stop - start)

    def _lines(self, name: str, start: int, size: int, most: int) -> Iterator[Message]:
        """Yields the lines that end between two positions, at most a number of them, and a chunk; no blank ones."""
        first, piece = start, min(_PIECE, _CHUNK)
        while start < size and start - first < _CHUNK and most > 0:
            data = self._bytes(name, start, min(size, start + piece))
            end = data.rfind(b"\n") + 1
            if not end and start + piece < size and piece < _CHUNK:
                piece = min(2 * piece, _CHUNK)
                continue
            if not end:
                stop = self._end_of_long_line(name, start, size)
                if stop:
                    yield Message(start, stop, None, stop - 1 - start)
                return
            found = list(_split(data[:end], start))[:most]
            yield from found
            most -= len(found)
            # Blank lines are no part of a look's chunk.
            first += 0 if found else end
            start += end

    def _end_of_long_line(self, name: str, start: int, size: int) -> int:
        """Returns the position after a line that is longer than a chunk; 0 if it does not end yet."""
        for begin in range(start + _CHUNK, size, _CHUNK):
            found = self._bytes(name, begin, min(size, begin + _CHUNK)).find(b"\n")
            if found >= 0:
                return begin + found + 1
        return 0


def _split(data: bytes, start: int) -> Iterator[Message]:
    """Yields each line that is not blank; `data` ends with a line's end."""
    for line in data[:-1].split(b"\n"):
        stop = start + len(line) + 1
        if line.strip():
            yield Message(start, stop, line if len(line) <= LONGEST_MESSAGE else None, len(line))
        start = stop
