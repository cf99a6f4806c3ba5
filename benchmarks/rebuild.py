"""Makes datasets again on other Pythons and in other ways, and prints whether they are the same, byte for byte.

    python -m benchmarks.rebuild --input svhn/train --pictures 1000 --python ~/other/bin/python
    python -m benchmarks.rebuild --input svhn/train --only in-process,workers

`prepare` makes a dataset for each task in one process of this Python; `python -m beam_jobs rebuild` makes it again.
Another Python's environment needs `pip install -r requirements-worker.lock`. It works in every way but on Flink,
whose workers have this Python. Engines are fetched as `make test-cluster` does.
"""

import argparse
import contextlib
import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster import WAYS, Engines
from benchmarks.common.own_process import choose
from benchmarks.common.table import markdown, verdict
from benchmarks.prepare.make_input import make_input
from tests.cluster import jobs
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, MANIFEST, TASKS, Manifest
from tfrecords.errors import UserError

_PICTURES = 1000
_OF_TASKS = {"read": ["--examples-per-shard", "1024"], "find": ["--task", "find", "--examples-per-shard", "128"]}
"""Options with which `prepare` makes several shards of a thousand pictures."""
_SECONDS = 900.0
_PRINT_VERSION = "import platform; print(platform.python_version())"
_DIGEST_LETTERS = 12
_NONE = "none"
_HEAD = ("task", "Python", "way", "shards", "SHA-256 of shards and annotations", "other versions", "same", "seconds")


@dataclass(frozen=True)
class Rebuilt:
    """One run of `rebuild`.

    Attributes:
      task: Task of the dataset.
      python: Version of Python.
      way: Title of the way.
      shards: Number of shards.
      digest: SHA-256 of the names and digests of all shards and tables that it wrote; empty if it wrote no dataset.
      versions: Packages of other versions than the original's, with theirs.
      code: Exit code.
      said: Its last line.
      seconds: Time that it took.
    """

    task: str
    python: str
    way: str
    shards: int
    digest: str
    versions: str
    code: int
    said: str
    seconds: float

    def is_same(self, digest: str) -> bool:
        """Returns whether the dataset is the one with a digest, and `rebuild` has said so."""
        return self.code == 0 and self.digest == digest


def table(rows: Sequence[Rebuilt], digests: dict[str, str]) -> str:
    """Returns the runs as a Markdown table.

    Args:
      rows: Runs.
      digests: SHA-256 of the original's names and digests, by task.
    """
    return markdown(_HEAD, (_cells(row, row.is_same(digests[row.task])) for row in rows), words=3)


def _cells(row: Rebuilt, same: bool) -> tuple[str, ...]:
    shown = f"{row.digest[:_DIGEST_LETTERS]}..." if row.digest else "-"
    return (
        *(row.task, row.python, row.way, f"{row.shards:,}", shown, row.versions),
        *("yes" if same else f"NO: {row.said}", f"{row.seconds:.1f}"),
    )


def rebuild(python: str, task: str, way: str, options: Sequence[str], source: Path, folder: Path) -> Rebuilt:
    """Makes a dataset again, and deletes what was made.

    Args:
      python: Interpreter.
      task: Task of the dataset.
      way: One of `WAYS`.
      options: Options of the way.
      source: Folder of the pictures.
      folder: Folder of the original, in a folder of the task's name.
    """
    output, start = folder / "again", time.perf_counter()
    words = [python, "-m", "beam_jobs", "rebuild", str(folder / task), "--input", str(source), "--output", str(output)]
    done = jobs.run([*words, *options], seconds=_SECONDS)
    seconds = time.perf_counter() - start
    said = (
        f"exit code {done.code}, " * bool(done.code)
        + (done.output.strip() or done.errors.strip() or "nothing").splitlines()[-1]
    )
    try:
        before = Manifest.load(folder / task)
        shards = sum(len(info.shards) for info in before.splits.values())
        digest, versions = "", "-"
        if (output / MANIFEST).exists():
            after = Manifest.load(output)
            digest, versions = digest_of(after), other_versions(before, after)
        return Rebuilt(task, version_of(python), WAYS[way], shards, digest, versions, done.code, said, seconds)
    finally:
        shutil.rmtree(output, ignore_errors=True)


def digest_of(manifest: Manifest) -> str:
    """Returns the SHA-256 of the names and digests of a dataset's shards, annotations.parquet and dead letters."""
    files = {shard.file: shard.sha256 for info in manifest.splits.values() for shard in info.shards}
    files |= {name: manifest.files[name] for name in (ANNOTATIONS, DEAD_LETTERS)}
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in files.items()).encode()).hexdigest()


def other_versions(before: Manifest, after: Manifest) -> str:
    """Returns the packages whose versions differ between two datasets, with those of the second one."""
    names = sorted({*before.versions, *after.versions})
    pairs = {name: (before.versions.get(name, _NONE), after.versions.get(name, _NONE)) for name in names}
    return ", ".join(f"{name} {new}" for name, (old, new) in pairs.items() if old != new) or "-"


def version_of(python: str) -> str:
    """Returns the version of an interpreter.

    Raises:
      UserError: It cannot be run.
    """
    try:
        done = jobs.run([python, "-c", _PRINT_VERSION])
    except OSError as error:
        raise UserError("--python must be an interpreter.", python) from error
    return done.output.strip()


def runs(pythons: Sequence[str], ways: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields interpreters and ways; workers of Flink have this interpreter."""
    for python in pythons:
        yield from ((python, way) for way in ways if python == sys.executable or not way.startswith("flink"))


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder as SVHN unpacks, or one of its subsets")
    add("--pictures", type=int, default=_PICTURES, help=f"number of pictures to prepare (default: {_PICTURES})")
    add("--python", action="append", default=[], metavar="PATH", help="another interpreter; may be given several times")
    add("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join(WAYS)} (default: all but flink-1)")
    add("--output", type=Path, help="folder for a temporary folder (default: the system's)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table, and returns 0 if all datasets are the same."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
    rows: list[Rebuilt] = []
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output, ignore_cleanup_errors=True) as temporary,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(temporary).resolve()
        try:
            ways = choose(args.only or ",".join(way for way in WAYS if way != "flink-1"), WAYS)
            if args.pictures < 1:
                raise UserError("--pictures must be 1 or more.", args.pictures)
            source = make_input(args.input, folder / "input", args.pictures)
            pythons = [sys.executable, *args.python]
            for python in pythons:
                version_of(python)
        except UserError as error:
            parser.error(str(error))
        digests = {task: _prepare(task, source, folder) for task in TASKS}
        engines = Engines(folder, stack)
        for task in TASKS:
            for python, way in runs(pythons, ways):
                print(f"{task}, {WAYS[way]}, {python} ...", end=" ", file=sys.stderr, flush=True)
                try:
                    rows.append(rebuild(python, task, way, engines.options(way), source, folder))
                except RuntimeError as error:
                    print(f"left out: {error}", file=sys.stderr)
                    continue
                print(rows[-1].said, file=sys.stderr)
    same = sum(row.is_same(digests[row.task]) for row in rows)
    print(table(rows, digests), verdict(same == len(rows) > 0, f"{same} of {len(rows)} are the same"), sep="\n")
    return 0 if same == len(rows) > 0 else 1


def _prepare(task: str, source: Path, folder: Path) -> str:
    """Makes the dataset of a task, and returns the SHA-256 of its names and digests."""
    words = ["python", "-m", "beam_jobs", "prepare", "--source", "svhn", "--input", str(source), "--workers", "1"]
    jobs.check(jobs.run([*words, "--output", str(folder / task), *_OF_TASKS[task]]))
    return digest_of(Manifest.load(folder / task))


if __name__ == "__main__":
    sys.exit(main())
