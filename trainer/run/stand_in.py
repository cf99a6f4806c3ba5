"""Local folders that stand for folders at addresses.

The files of a run are few and small next to its dataset, and Keras, HDF5 and Parquet want local ones. So a command that
reads a run at an address copies the files that it needs, works on a local folder, and uploads what it has written.
Every function below takes local places too, and does nothing for them.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.place import Place

_PREFIX = "streetdigits-run-"
_CHUNK_BYTES = 8 << 20
_folders: dict[str, StandIn] = {}
"""Folders in place of addresses in this process, by address."""


class StandIn:
    """A folder of a place: the folder itself where it is local, and a local one in its place where it is an address.

    Attributes:
      place: Place of the folder.
      folder: Local folder.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        """Makes the pair. Use `stand_in`."""
        self.place, self.folder = place, folder

    def fetch(self, *names: str) -> None:
        """Copies those of the named files that exist at an address, once in a process.

        Raises:
          UserError: The place cannot be read.
        """
        for name in names if self.place.is_remote else ():
            path = self.folder / name
            if not path.exists():
                with contextlib.suppress(FileNotFoundError), (self.place / name).local_file() as copy:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(copy, path)

    def publish(self, *names: str) -> None:
        """Uploads files, in this order.

        Raises:
          UserError: The place cannot be written.
        """
        for name in names if self.place.is_remote else ():
            upload(self.folder / name, self.place / name)


class _Chunks:
    """The content of a file, piece by piece, for each attempt to write it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk


def upload(path: Path, place: Place) -> None:
    """Copies a local file to an address, where it appears complete or not at all.

    Raises:
      UserError: The place cannot be written.
    """
    place.write(_Chunks(path))


def stand_in(place: Place | Path) -> StandIn:
    """Returns the folder of a place; for an address an empty temporary one that lasts as long as the process."""
    place = place if isinstance(place, Place) else Place(place)
    if not place.is_remote:
        return StandIn(place, place.path)
    if place.text not in _folders:
        root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        # Pages are titled by the name of the folder.
        folder = root / (place.name.replace("/", "_") or "run")
        folder.mkdir()
        register(place, folder)
    return _folders[place.text]


def register(place: Place, folder: Path) -> StandIn:
    """Makes a local folder stand for an address in this process, and returns the pair."""
    _folders[place.text] = StandIn(place, folder)
    return _folders[place.text]


def stand_in_of(folder: Path) -> StandIn:
    """Returns the pair of a folder that may stand for an address: its own place where it does not."""
    found = (one for one in _folders.values() if one.folder == folder)
    return next(found, None) or StandIn(Place(folder), folder)


class OutputFile:
    """A file that a command writes: the file itself, or a local one that is uploaded.

    Attributes:
      place: Place of the file.
      path: Local path to write.
    """

    def __init__(self, place: Place) -> None:
        """Copies an existing file from an address, for commands that check what they replace."""
        self._folder = stand_in(place.parent) if place.is_remote else None
        if self._folder:
            self._folder.fetch(place.name)
        self.place = place
        self.path = self._folder.folder / place.name if self._folder else place.path

    def publish(self) -> None:
        """Uploads the file.

        Raises:
          UserError: The place cannot be written.
        """
        if self._folder:
            self._folder.publish(self.place.name)


def output_file(place: Place | Path) -> OutputFile:
    """Returns the file of a place.

    Raises:
      UserError: The place cannot be read.
    """
    return OutputFile(place if isinstance(place, Place) else Place(place))


def published_files(folder: Path) -> Iterable[str]:
    """Returns the relative paths, with `/`, of every file in a folder and its folders, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def shown(path: object) -> str:
    """Returns a path or a text as it is shown to a user: with addresses in place of the folders that stand for them."""
    text = str(path)
    for one in _folders.values():
        text = text.replace(str(one.folder), one.place.text)
    return text


@contextlib.contextmanager
def naming_addresses() -> Iterator[None]:
    """Makes the errors of a command name the addresses that its user gave, not the folders that stand for them.

    At the end of the block these folders are forgotten: a later command copies what is at the addresses then.

    Raises:
      UserError: The block has raised one.
    """
    try:
        yield
    except UserError as error:
        if (text := shown(error)) != str(error):
            raise UserError(text) from error
        raise
    finally:
        _folders.clear()


def forget(place: Place) -> None:
    """Makes the next use of an address copy what is there then."""
    _folders.pop(place.text, None)


def absolute(place: Place) -> str:
    """Returns a place under a name that holds in every working directory."""
    return place.text if place.is_remote else str(place.path.resolve())


def place_beside(place: Place, ending: str) -> Place:
    """Returns the place next to a folder, with an ending added to its name.

    Raises:
      UserError: The folder is a bucket: the place would be another one, perhaps somebody else's.
    """
    if place.is_remote:
        if place.parent == place:
            raise UserError("Nothing can be written next to a bucket: give --output.", place)
        return Place(f"{place.text}{ending}")
    path = place.path if place.path.name not in ("", "..") else place.path.resolve()
    return Place(path.with_name(path.name + ending))
