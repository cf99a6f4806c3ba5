"""`python -m beam_jobs download`: SVHN's published archives, downloaded, checked and unpacked."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from beam_jobs.download.archives import ARCHIVES, BASE_URL, NOTICE, Archive
from beam_jobs.download.fetch import FetchPolicy, bytes_received, check_url, fetch
from beam_jobs.download.unpack import remove_leftovers, unpack
from beam_jobs.file_lock import lock_folder
from tfrecords.errors import UserError
from tfrecords.files.purpose import check_purpose
from tfrecords.flags import add_flags, from_flags, local_path, setting
from tfrecords.progress import print_line, progress

EPILOG = f"""\
examples:
  python -m beam_jobs download --output svhn
  python -m beam_jobs download --output svhn --subset extra --keep-archives

Creates one folder per subset, with its PNGs and digitStruct.mat.
After an interruption the same command resumes.
{NOTICE}
"""
_LOCK = ".download.lock"


@dataclass(frozen=True)
class DownloadConfig:
    """What to download, and the folder to download it to.

    Attributes:
      output: Folder in which one folder per subset is created.
      subset: Names of archives, separated by commas.
      base_url: Address of the folder of `<subset>.tar.gz`, with or without a slash at the end.
      keep_archives: Whether to keep the archives next to the folders.
    """

    output: Path
    subset: str = setting("train,test", f"subsets, separated by commas: {', '.join(ARCHIVES)}")
    base_url: str = setting(BASE_URL, "address of the archives, for a mirror; digests are always checked")
    keep_archives: bool = setting(False, "keep the archives next to the unpacked folders")

    @property
    def subsets(self) -> tuple[str, ...]:
        """The names of the archives, without repetition."""
        return tuple(dict.fromkeys(name.strip() for name in self.subset.split(",") if name.strip()))

    def url(self, subset: str) -> str:
        """Returns the address of a subset's archive."""
        return f"{self.base_url.rstrip('/')}/{subset}.tar.gz"

    def archive_path(self, subset: str) -> Path:
        """Returns the path to which a subset's archive is downloaded."""
        return self.output / f"{subset}.tar.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `download`."""
    parser.add_argument(
        "--output",
        type=local_path,
        required=True,
        metavar="DIR",
        help="folder in which one folder per subset is created",
    )
    add_flags(parser, DownloadConfig)


def run(args: argparse.Namespace) -> int:
    """Downloads the subsets and prints the next command; returns 0.

    Raises:
      UserError: As `download` raises it.
    """
    config = from_flags(DownloadConfig, vars(args))
    check_purpose("--output", config.output, "pictures")
    print(NOTICE, file=sys.stderr)
    try:
        downloaded = download(config, ARCHIVES)
    except KeyboardInterrupt as interrupt:
        interrupt.args = (f"The received bytes are kept in {config.output}; the same command resumes.",)
        raise
    print(_summary(config, downloaded))
    return 0


def download(
    config: DownloadConfig, archives: Mapping[str, Archive], policy: FetchPolicy | None = None
) -> tuple[str, ...]:
    """Downloads and unpacks the subsets of `config`; each folder appears only when complete.

    Args:
      config: Subsets, address and output folder.
      archives: Published archives by subset.
      policy: Timeouts and retries; None for the defaults.

    Returns:
      The subsets that were downloaded; the others were already complete.

    Raises:
      UserError: An option is invalid, the disk is too small, another download uses the folder, an archive cannot be
        downloaded or unpacked, or a folder with other contents exists.
      OSError: The files cannot be written.
    """
    if not config.subsets or not set(config.subsets) <= set(archives):
        raise UserError(f"--subset must name some of {', '.join(archives)}.", ",".join(config.subsets) or "none")
    check_url(config.base_url)
    config.output.mkdir(parents=True, exist_ok=True)
    locked = UserError(f"{config.output}: only one download at a time may use a folder.", "a second one")
    with lock_folder(config.output, locked, _LOCK):
        missing = tuple(name for name in config.subsets if not _is_complete(config.output / name, archives[name]))
        for subset in config.subsets:
            if subset not in missing:
                print(f"{subset}: already complete in {config.output / subset}, skipped", file=sys.stderr)
            remove_leftovers(config.output / subset)
        _check_space(config, {name: archives[name] for name in missing})
        for subset in missing:
            _download_subset(config, subset, archives[subset], policy)
    return missing


def _download_subset(config: DownloadConfig, subset: str, archive: Archive, policy: FetchPolicy | None) -> None:
    path = config.archive_path(subset)
    with _bar(f"download {subset}", archive.size_bytes, bytes_received(path)) as advance:
        fetch(config.url(subset), archive, path, policy, advance, print_line)
    with _bar(f"unpack {subset}", archive.size_bytes) as advance:
        unpack(path, config.output / subset, advance)
    if not config.keep_archives:
        path.unlink()


def _is_complete(folder: Path, archive: Archive) -> bool:
    """Returns False if there is no such folder; raises `UserError` if this command cannot have created it."""
    if not folder.exists():
        return False
    names = set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208
    pictures = sum(name.endswith(".png") for name in names)
    if pictures < archive.pictures or "digitStruct.mat" not in names:
        has_boxes = "with" if "digitStruct.mat" in names else "without"
        raise UserError(
            f"{folder}: must not exist, or must hold {archive.pictures} PNGs and digitStruct.mat; move it away.",
            f"{pictures} PNGs {has_boxes} digitStruct.mat",
        )
    return True


def _check_space(config: DownloadConfig, missing: Mapping[str, Archive]) -> None:
    """Raises `UserError` unless the disk has room for the moment of the download that needs most."""
    needed = kept = 0
    for subset, archive in missing.items():
        remaining = max(0, archive.size_bytes - bytes_received(config.archive_path(subset)))
        needed = max(needed, kept + remaining + archive.unpacked_bytes)
        kept += archive.unpacked_bytes + (remaining if config.keep_archives else 0)
    free = shutil.disk_usage(config.output).free
    if free < needed:
        rule = f"downloading and unpacking {', '.join(missing)} needs about {needed / 1e9:.2f} GB of free disk space."
        raise UserError(f"{config.output}: {rule}", f"{free / 1e9:.2f} GB")


@contextmanager
def _bar(title: str, total_bytes: int, initial_bytes: int = 0) -> Iterator[Callable[[int], None]]:
    """Shows the progress on standard error; yields the function that moves it to a position in bytes."""
    with progress(title, total_bytes, "B", done=initial_bytes) as bar:
        yield bar.move_to


def _summary(config: DownloadConfig, downloaded: tuple[str, ...]) -> str:
    folder, records = shlex.quote(str(config.output)), shlex.quote(f"{config.output}-records")
    found = [name for name in config.subsets if name not in downloaded]
    done = [f"downloaded {', '.join(downloaded)}"] if downloaded else []
    done += [f"found {', '.join(found)} complete"] if found else []
    following = f"python -m beam_jobs prepare --source svhn --input {folder} --output {records}"
    return f"{' and '.join(done)} in {folder}\nNext: {following}"
