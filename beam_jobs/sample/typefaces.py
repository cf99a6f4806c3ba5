"""Gathers typefaces of Debian's packages that may be used for anything, for `sample --faces`.

    python -m beam_jobs.sample.typefaces --list trainer/pretrained/typefaces.tsv --output faces
    python -m beam_jobs.sample.typefaces --list new.tsv --output faces --packages fonts-lato fonts-inter

The list has a row per file: name, family, package, licence and SHA-256. With --packages it is written anew: of each
family up to --most faces that have all ten digits and whose own licence entry names the SIL Open Font License or the
Apache License; what a package's copyright file says does not count, since it speaks of many files. Without, the files
of the list are gathered and their digests checked. Packages are downloaded by apt-get, or taken from --debs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import logging
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from fnmatch import fnmatch
from pathlib import Path

from beam_jobs.sample.faces import has_digits
from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_path, atomic_write
from tfrecords.flags import local_path
from tfrecords.progress import progress

LICENCES = {
    "OFL-1.1": re.compile(r"open font licen[cs]e|sil\.org/ofl|openfontlicense", re.IGNORECASE),
    "Apache-2.0": re.compile(r"apache licen[cs]e|apache\.org/licenses", re.IGNORECASE),
}
"""What the licence entries of a typeface say, by the licence's SPDX identifier."""
_ENDINGS = (".otf", ".ttf")
_LICENCE_ENTRIES = (13, 14, 0)
"""OpenType's numbers of a typeface's licence, the licence's address and the copyright."""
_FAMILY_ENTRIES = (16, 1)


@dataclass(frozen=True)
class Typeface:
    """A row of the list.

    Attributes:
      file: Name of the file.
      family: Name of the family.
      package: Debian package.
      licence: Key of `LICENCES`.
      sha256: Digest of the file, hexadecimal.
    """

    file: str
    family: str
    package: str
    licence: str
    sha256: str


def survey(package: str, files: Iterator[tuple[str, bytes]]) -> tuple[dict[Typeface, bytes], Counter[str]]:
    """Returns the typefaces of a package that may be used, with their bytes, and counts of the others by reason."""
    kept: dict[Typeface, bytes] = {}
    others: Counter[str] = Counter()
    for name, content in files:
        try:
            family, licence = describe(content)
        except UserError as error:
            others[str(error)] += 1
            continue
        if not licence:
            others["another licence"] += 1
        elif not has_digits(content):
            others["not all ten digits"] += 1
        else:
            kept[Typeface(name, family, package, licence, hashlib.sha256(content).hexdigest())] = content
    return kept, others


def describe(content: bytes) -> tuple[str, str]:
    """Returns the family of a typeface, and its licence: a key of `LICENCES`, empty for any other.

    Raises:
      UserError: It is no typeface.
    """
    from fontTools.ttLib import TTFont, TTLibError

    try:
        entries = {entry.nameID: entry.toUnicode() for entry in TTFont(io.BytesIO(content), lazy=True)["name"].names}
    except (TTLibError, KeyError, UnicodeDecodeError) as error:
        raise UserError("unreadable") from error
    text = " ".join(entries.get(number, "") for number in _LICENCE_ENTRIES)
    family = next((entries[number] for number in _FAMILY_ENTRIES if number in entries), "")
    return family, next((name for name, pattern in LICENCES.items() if pattern.search(text)), "")


def choose(found: Sequence[Typeface], most: int) -> list[Typeface]:
    """Returns up to `most` typefaces of each family, spread over its files, in the order of their names.

    Of files with one name, or of the same bytes, the first is taken.
    """
    families: dict[str, list[Typeface]] = {}
    names, digests = set(), set()
    for face in sorted(found, key=lambda face: (face.file, face.package)):
        if face.file.lower() not in names and face.sha256 not in digests:
            families.setdefault(face.family, []).append(face)
        names.add(face.file.lower())
        digests.add(face.sha256)
    chosen = [
        faces[len(faces) * i // min(most, len(faces))]
        for faces in families.values()
        for i in range(min(most, len(faces)))
    ]
    return sorted(chosen, key=lambda face: face.file)


def package_files(deb: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and bytes of each typeface file in a Debian package, which dpkg-deb unpacks."""
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as unpacked,  # noqa: S603  # as the user runs it
        tarfile.open(fileobj=unpacked.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if member.isfile() and member.name.lower().endswith(_ENDINGS) and (file := archive.extractfile(member)):
                yield Path(member.name).name, file.read()


def read_list(path: Path) -> list[Typeface]:
    """Returns the rows of a list.

    Raises:
      UserError: It has other columns.
      OSError: It cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        names = [each.name for each in fields(Typeface)]
        if rows.fieldnames != names:
            raise UserError(f"{path} must have the columns {', '.join(names)}.", rows.fieldnames)
        return [Typeface(**row) for row in rows]


def write_list(path: Path, faces: Sequence[Typeface]) -> None:
    """Writes the rows of a list."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow([each.name for each in fields(Typeface)])
    rows.writerows(map(astuple, faces))
    with atomic_write(path) as stream:
        stream.write(text.getvalue().encode())


def main() -> int:
    """Parses the command line, gathers the typefaces and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--list", type=local_path, required=True, metavar="FILE", help="list of typefaces, tab-separated")
    add("--output", type=local_path, required=True, metavar="DIR", help="folder to create, for the typefaces")
    add("--packages", nargs="+", metavar="NAME", help="packages to write the list from")
    add(
        "--without",
        nargs="+",
        default=[],
        metavar="GLOB",
        help="files that are not taken, as pictures in place of digits",
    )
    add("--most", type=int, default=4, help="most faces of a family (default: 4)")
    add("--debs", type=local_path, metavar="DIR", help="folder of downloaded packages (default: download them)")
    args = parser.parse_args()
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)  # warns of each odd date and flag in a file
    try:
        if args.output.exists():
            raise UserError("--output must not exist yet.", args.output)
        if args.packages:
            count, others = _write_anew(args)
        else:
            count, others = _gather(args), Counter()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    left_out = "".join(f"; left out: {number:,} ({reason})" for reason, number in sorted(others.items()))
    print(f"{count:,} typefaces in {args.output}, listed in {args.list}{left_out}")
    return 0


def _write_anew(args: argparse.Namespace) -> tuple[int, Counter[str]]:
    """Writes the list from the packages and the chosen files; returns their number and what was left out, by reason."""
    contents: dict[Typeface, bytes] = {}
    others: Counter[str] = Counter()
    for package, deb in _packages(args.packages, args.debs):
        kept, more = survey(package, package_files(deb))
        wanted = {
            face: content
            for face, content in kept.items()
            if not any(fnmatch(face.file, each) for each in args.without)
        }
        contents |= wanted
        others += more + Counter({"--without": len(kept) - len(wanted)})
    chosen = choose(list(contents), args.most)
    others["more of a family"] += len(contents) - len(chosen)
    with atomic_path(args.output) as folder:
        folder.mkdir()
        for face in chosen:
            (folder / face.file).write_bytes(contents[face])
    write_list(args.list, chosen)
    return len(chosen), others


def _gather(args: argparse.Namespace) -> int:
    """Writes the files of the list, whose digests it checks; returns their number.

    Raises:
      UserError: A package lacks a file of the list, or has another one of the name.
    """
    missing = {(face.package, face.sha256): face.file for face in read_list(args.list)}
    count = len(missing)
    with atomic_path(args.output) as folder:
        folder.mkdir()
        for package, deb in _packages(sorted({package for package, _ in missing}), args.debs):
            for _, content in package_files(deb):
                if name := missing.pop((package, hashlib.sha256(content).hexdigest()), None):
                    (folder / name).write_bytes(content)
        if missing:
            (package, digest), name = next(iter(missing.items()))
            rule = f"{len(missing):,} typefaces of {args.list} must be in their packages, with their digests: other"
            raise UserError(f"{rule} versions of the packages have other files.", f"{package} without {name} {digest}")
    return count


def _packages(names: Sequence[str], debs: Path | None) -> Iterator[tuple[str, Path]]:
    """Yields the file of each package, which is downloaded unless a folder has it.

    Raises:
      UserError: A package cannot be had.
    """
    with tempfile.TemporaryDirectory() as scratch, progress("gathering", len(names), "packages") as bar:
        for name in names:
            folder = debs or Path(scratch)
            found = sorted(folder.glob(f"{name}_*.deb"))
            if not found and not debs:
                command = ["apt-get", "download", "--quiet", name]
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
                found = sorted(folder.glob(f"{name}_*.deb"))
                if done.returncode or not found:
                    raise UserError(f"The package {name} must be one that apt-get can download.", done.stderr.strip())
            if len(found) != 1:
                raise UserError(f"{folder} must have one file of the package {name}.", len(found))
            yield name, found[0]
            if not debs:
                found[0].unlink()
            bar.update()


if __name__ == "__main__":
    sys.exit(main())
