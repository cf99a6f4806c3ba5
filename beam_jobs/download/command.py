"""`python -m beam_jobs download`: SVHN's published archives, fetched, checked and unpacked."""

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from beam_jobs.download.archives import ARCHIVES, BASE_URL, NOTICE, Archive
from beam_jobs.download.fetch import FetchPolicy, bytes_at_hand, fetch
from beam_jobs.download.http_range import RemoteFile, check_url
from beam_jobs.download.unpack import remove_leftovers, unpack
from tfrecords.errors import UserError

if sys.platform != "win32":
    import fcntl

# A log file, unlike a terminal, keeps every state of a bar.
LOG_INTERVAL_S = 10.0


@dataclass(frozen=True)
class DownloadConfig:
    """What to download, and where to.

    Attributes:
      output: the folder that gets one folder for each subset.
      subsets: names of archives, without repetition.
      base_url: where `<subset>.tar.gz` lies; with or without a slash at the end.
      keep_archives: whether the archives stay beside the folders.
    """

    output: Path
    subsets: tuple[str, ...] = ("train", "test")
    base_url: str = BASE_URL
    keep_archives: bool = False

    def url(self, subset: str) -> str:
        return f"{self.base_url.rstrip('/')}/{subset}.tar.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `download`."""
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the subsets' folders")
    parser.add_argument("--subset", default="train,test", help=f"comma-separated: {', '.join(ARCHIVES)}")
    parser.add_argument(
        "--base-url", default=BASE_URL, metavar="URL", help="a mirror; digests are checked all the same"
    )
    parser.add_argument("--keep-archives", action="store_true", help="keep the archives after unpacking")


def run(args: argparse.Namespace) -> int:
    """Downloads what the command line names; the last line on standard output says what to do next."""
    subsets = tuple(dict.fromkeys(name.strip() for name in args.subset.split(",") if name.strip()))
    config = DownloadConfig(args.output, subsets, args.base_url, args.keep_archives)
    print(NOTICE, file=sys.stderr)
    try:
        made = download(config, ARCHIVES)
    except KeyboardInterrupt:
        print(f"What was downloaded is kept in {config.output}; the same command goes on.", file=sys.stderr)
        raise
    print(_summary(config, made))
    return 0


def download(
    config: DownloadConfig, archives: Mapping[str, Archive], policy: FetchPolicy | None = None
) -> tuple[str, ...]:
    """Brings the subsets of `config` to its output folder; each appears only when whole.

    Args:
      config: what and where to.
      archives: the published archives by subset.
      policy: timeouts and retries of the downloads; None for the defaults.

    Returns:
      The subsets that were made now; the others were there already.

    Raises:
      UserError: an option cannot be used, the disk is too small, an archive cannot
        be had or unpacked, or a folder with other contents is in the way.
      OSError: the files cannot be written.
    """
    if not config.subsets or not set(config.subsets) <= set(archives):
        raise UserError(f"--subset must name some of {', '.join(archives)}.", ",".join(config.subsets) or "none")
    check_url(config.base_url)
    config.output.mkdir(parents=True, exist_ok=True)
    with _alone_in(config.output):
        missing = tuple(name for name in config.subsets if not _is_complete(config.output / name, archives[name]))
        for subset in config.subsets:
            if subset not in missing:
                print(f"{subset}: already complete in {config.output / subset}, skipped", file=sys.stderr)
            remove_leftovers(config.output / subset)
        _check_space(config, {name: archives[name] for name in missing})
        for subset in missing:
            _make(config, subset, archives[subset], policy)
    return missing


def _make(config: DownloadConfig, subset: str, archive: Archive, policy: FetchPolicy | None) -> None:
    """Fetches and unpacks one subset."""
    packed = _archive_path(config, subset)
    remote = RemoteFile(config.url(subset), archive.size_bytes, archive.sha256)
    with _bar(f"download {subset}", archive.size_bytes, bytes_at_hand(packed)) as advance:
        fetch(remote, packed, policy, advance, lambda message: tqdm.write(message, file=sys.stderr))
    with _bar(f"unpack {subset}", archive.size_bytes) as advance:
        unpack(packed, config.output / subset, advance)
    if not config.keep_archives:
        packed.unlink()


def _archive_path(config: DownloadConfig, subset: str) -> Path:
    return config.output / f"{subset}.tar.gz"


def _is_complete(folder: Path, archive: Archive) -> bool:
    """False when there is no such folder; one that this command cannot have made is an error."""
    if not folder.exists():
        return False
    names = set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208
    pictures = sum(name.endswith(".png") for name in names)
    if pictures < archive.pictures or "digitStruct.mat" not in names:
        has_boxes = "with" if "digitStruct.mat" in names else "without"
        raise UserError(
            f"{folder}: must be absent, or hold {archive.pictures} PNGs and digitStruct.mat; move it away.",
            f"{pictures} PNGs {has_boxes} digitStruct.mat",
        )
    return True


def _check_space(config: DownloadConfig, missing: Mapping[str, Archive]) -> None:
    """Raises `UserError` unless the disk has room for the fullest moment of the work."""
    needed = settled = 0
    for subset, archive in missing.items():
        remaining = max(0, archive.size_bytes - bytes_at_hand(_archive_path(config, subset)))
        needed = max(needed, settled + remaining + archive.unpacked_bytes)
        settled += archive.unpacked_bytes + (remaining if config.keep_archives else 0)
    free = shutil.disk_usage(config.output).free
    if free < needed:
        raise UserError(
            f"{config.output}: downloading and unpacking {', '.join(missing)} needs about "
            f"{needed / 1e9:.2f} GB of free disk space.",
            f"{free / 1e9:.2f} GB",
        )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second download out of the folder: two would append to one partial file."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{folder}: only one download at a time may use a folder.", "a second one") from error
        except OSError:
            pass  # Some network file systems cannot lock; the digest still finds a mixed file.
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _bar(title: str, total_bytes: int, initial_bytes: int = 0) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields the function that moves it to a position in bytes."""
    interval_s = 0.1 if sys.stderr.isatty() else LOG_INTERVAL_S
    with tqdm(
        desc=title, total=total_bytes, initial=initial_bytes, unit="B", unit_scale=True, mininterval=interval_s
    ) as bar:

        def advance(position: int) -> None:
            bar.update(position - bar.n)

        yield advance


def _summary(config: DownloadConfig, made: tuple[str, ...]) -> str:
    folder = shlex.quote(str(config.output))
    done = [f"made {', '.join(made)}"] if made else []
    there = [name for name in config.subsets if name not in made]
    done += [f"found {', '.join(there)} complete"] if there else []
    following = f"python -m beam_jobs prepare --source svhn --input {folder} --output {folder}/records"
    return f"{' and '.join(done)} in {folder}; next: {following}"
