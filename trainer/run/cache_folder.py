"""The folder of this machine for copies of what is at addresses: shards of datasets, and runs in progress."""

import argparse
import math
import os
from dataclasses import dataclass
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.flags import local_path

DEFAULT_GB = 50.0
"""Default bound of the copies of shards, GB."""
FOLDER_HELP = (
    "local folder for copies of shards from an address; processes of a host may share it (default: streetdigits in the "
    "user's cache directory)"
)
SIZE_HELP = "bound of the copies of shards in --cache, GB of 10^9 bytes"


@dataclass(frozen=True)
class CacheFolder:
    """Where copies are kept, and how many.

    Attributes:
      folder: Folder of this machine.
      max_bytes: Bound of the copies of shards, bytes.
    """

    folder: Path
    max_bytes: int

    @property
    def shards(self) -> Path:
        """Folder of the copies of shards."""
        return self.folder / "shards"

    @property
    def runs(self) -> Path:
        """Folder of the working folders of runs."""
        return self.folder / "runs"

    @classmethod
    def of(cls, folder: str | Path | None, gigabytes: float) -> "CacheFolder":
        """Returns the cache of two options.

        Args:
          folder: Folder; None takes the default one.
          gigabytes: Bound, GB.

        Raises:
          UserError: The bound is not above 0 and finite.
        """
        check_cache_size(gigabytes)
        return cls(Path(folder) if folder else default_folder(), int(gigabytes * 1e9))


def check_cache_size(gigabytes: float) -> None:
    """Raises a UserError if a bound is not above 0 and finite."""
    if not (0 < gigabytes < math.inf and gigabytes * 1e9 >= 1):
        raise UserError("--cache-size must be above 0 GB and finite.", gigabytes)


def default_folder() -> Path:
    """Returns this package's folder in the user's cache directory, as the XDG base directory specification names it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "streetdigits"


def add_cache_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options `--cache` and `--cache-size` of commands that read a dataset."""
    parser.add_argument("--cache", type=local_path, metavar="DIR", help=FOLDER_HELP)
    parser.add_argument("--cache-size", type=float, metavar="GB", default=DEFAULT_GB, help=SIZE_HELP)


def chosen_cache(args: argparse.Namespace) -> CacheFolder:
    """Returns the cache of the options of `add_cache_arguments`.

    Raises:
      UserError: The bound is not above 0 and finite.
    """
    return CacheFolder.of(args.cache, args.cache_size)
