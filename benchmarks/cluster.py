"""Measures `prepare` on engines: in process, in local processes, on Prism, on Flink with one and two TaskManagers.

    python -m benchmarks.cluster --input svhn/train --pictures 60000 --keep-input large --repeats 3
    python -m benchmarks.cluster --input svhn/train --pictures 4000 --only in-process,flink-2

All ways prepare the same pictures, by turns, on this machine. Seconds count from the start of the command to its end,
as a user waits; the engine itself runs already. Processor time is that of the command and of all processes of the
engine, so that work which an engine does beside the pictures shows. Engines are fetched as `make test-cluster` does.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common.own_process import choose, fastest
from benchmarks.common.table import markdown, verdict
from benchmarks.prepare.make_input import count_pictures, make_input, warm
from tests.cluster import downloads, jobs
from tests.cluster.flink import Flink, flink
from tests.cluster.page import commands
from tests.cluster.processes import descendants
from tests.cluster.versions import BEAM, BEAM_JAVA, FLINK
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.errors import UserError

WAYS = {
    "in-process": "in process (--workers 1)",
    "workers": "2 processes (--workers 2)",
    "processes": "2 processes of Beam",
    "prism": f"Prism {BEAM}",
    "flink-1": f"Flink {FLINK}, 1 TaskManager",
    "flink-2": f"Flink {FLINK}, 2 TaskManagers",
}
_LOCAL = {
    "in-process": ("--workers", "1"),
    "workers": ("--workers", "2"),
    "processes": ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
}
"""Options of the ways without an engine."""
_MINIMUM = 0.9
"""Speed of Flink's two TaskManagers over that of two local processes of Beam, at `_PICTURES` and more."""
_PICTURES = 60_000
_HEAD = (
    "way",
    "pictures",
    "seconds",
    "pictures/s",
    "of Beam's 2 processes",
    "processor ms per picture",
    "of in process",
)
_TICKS = os.sysconf("SC_CLK_TCK")
_TIMES = slice(13, 17)
"""Where /proc/PID/stat has the ticks of a process and of its children that have ended, user and system."""


@dataclass(frozen=True)
class Measured:
    """Costs of one run of a way.

    Attributes:
      pictures: Number of prepared pictures.
      seconds: Time from the start of the command to its end.
      processor_s: Processor time of the command and of the engine.
      digest: Digest of the manifest, which names those of all shards.
    """

    pictures: int
    seconds: float
    processor_s: float
    digest: str

    @property
    def per_s(self) -> float:
        """Pictures per second."""
        return self.pictures / self.seconds

    @property
    def processor_ms(self) -> float:
        """Processor time per picture, milliseconds."""
        return 1000 * self.processor_s / self.pictures


Rows = dict[str, Measured]


@dataclass
class Engines:
    """The engines of the chosen ways, started when a way first needs them.

    Attributes:
      folder: Folder for their files.
      stack: What ends them.
    """

    folder: Path
    stack: contextlib.ExitStack
    _flink: Flink | None = field(default=None, init=False)

    def options(self, name: str) -> list[str]:
        """Returns the options of `prepare` that choose a way.

        Raises:
          RuntimeError: Its engine cannot be had here.
        """
        try:
            if name == "prism":
                return ["--runner", "PrismRunner", "--prism_location", str(downloads.prism())]
            if name.startswith("flink"):
                return self._on_flink(name.rpartition("-")[2])
        except downloads.Missing as error:
            raise RuntimeError(str(error)) from error
        return [*_LOCAL[name]]

    def _on_flink(self, slots: str) -> list[str]:
        if not self._flink:
            self._flink = self.stack.enter_context(flink(self.folder / "flink"))
            jobs.run_block(commands("boot", {"/opt/streetdigits-boot": str(self.folder / "boot")}))
        options = ["--runner", "PortableRunner", "--job_endpoint", f"127.0.0.1:{self._flink.job_port}"]
        return [*options, "--parallelism", slots, *jobs.process_environment(self.folder / "boot")]

    def processor_s(self, name: str) -> float:
        """Returns the processor time that a way's engine has taken; Prism is a process of the command."""
        if not self._flink or not name.startswith("flink"):
            return 0
        processes = [self._flink.process, self._flink.server, *self._flink.managers.values()]
        return sum(processor_s(pid) for each in processes for pid in (each.pid, *descendants(each.pid)))


def processor_s(pid: int) -> float:
    """Returns the processor time of a process and of its children that have ended; 0 if it has ended."""
    try:
        # The name of the process, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[_TIMES.start - 2 : _TIMES.stop - 2])) / _TICKS


def measure(name: str, source: Path, pictures: int, engines: Engines, folder: Path) -> Measured:
    """Runs `prepare` in one way and deletes what it wrote.

    Args:
      name: One of `WAYS`.
      source: Folder of the pictures.
      pictures: Their number.
      engines: Engines, started or not.
      folder: Folder for the output and the log.

    Raises:
      RuntimeError: The way failed; the text is the last line of its output.
    """
    options, output = engines.options(name), folder / "records"
    words = [sys.executable, "-m", "beam_jobs", "prepare", "--source", "svhn", "--input", str(source)]
    os.sync()  # or the disk would write the files of an earlier way at the cost of this one
    try:
        before, start = engines.processor_s(name), time.perf_counter()
        own, code, said = _run([*words, "--output", str(output), *options], folder / "log.txt")
        seconds = time.perf_counter() - start
        if code:
            raise RuntimeError(said)
        digest = hashlib.sha256((output / MANIFEST).read_bytes()).hexdigest()
        return Measured(pictures, seconds, own + engines.processor_s(name) - before, digest)
    finally:
        shutil.rmtree(output, ignore_errors=True)


def _run(words: list[str], log: Path) -> tuple[float, int, str]:
    """Returns the processor time of a command with its children, its exit code, and its last line."""
    with log.open("wb") as stream:
        process = subprocess.Popen(words, cwd=jobs.ROOT, stdout=stream, stderr=stream)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
    return used.ru_utime + used.ru_stime, process.returncode, lines[-1]


def table(rows: Rows) -> str:
    """Returns the rows as a Markdown table, with a line if not all ways wrote the same."""
    lines = [markdown(_HEAD, [_cells(name, row, rows) for name, row in rows.items()])]
    if len({row.digest for row in rows.values()}) > 1:
        lines.append("\nWRONG: not all ways wrote the same bytes.")
    return "\n".join(lines)


def _cells(name: str, row: Measured, rows: Rows) -> tuple[str, ...]:
    local, single = rows.get("processes"), rows.get("in-process")
    return (
        WAYS[name],
        f"{row.pictures:,}",
        f"{row.seconds:.1f}",
        f"{row.per_s:,.0f}",
        f"{row.per_s / local.per_s:.2f}" if local else "-",
        f"{row.processor_ms:.2f}",
        f"{row.processor_ms / single.processor_ms:.2f}" if single else "-",
    )


def targets(rows: Rows) -> list[str]:
    """Returns the line of the target, if the rows that it compares are there."""
    if not {"flink-2", "processes"} <= set(rows):
        return []
    row = rows["flink-2"]
    ratio = row.per_s / rows["processes"].per_s
    text = f"Flink's two TaskManagers against two local processes of Beam ({row.pictures:,} pictures): {ratio:.2f}"
    if row.pictures < _PICTURES:
        return [f"{text}; the target, at least {_MINIMUM}, holds from {_PICTURES:,} pictures on"]
    return [verdict(ratio >= _MINIMUM, f"{text}, at least {_MINIMUM}")]


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder as SVHN unpacks, or one of its subsets")
    add("--pictures", type=int, default=_PICTURES, help=f"number of pictures to prepare (default: {_PICTURES})")
    add("--keep-input", type=Path, metavar="FOLDER", help="folder for the input, reused by the next run")
    add("--only", metavar="NAME,...", help=f"ways to run, out of {', '.join(WAYS)} (default: all)")
    add("--repeats", type=int, default=1, help="runs per way, in turn; the fastest counts (default: 1)")
    add("--output", type=Path, help="folder for a temporary folder (default: the system's)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark, prints its table and target, and returns the exit code."""
    parser = make_parser()
    args = parser.parse_args(argv)
    for folder in (args.output, args.keep_input):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=args.output, ignore_cleanup_errors=True) as temporary,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(temporary).resolve()
        try:
            names = choose(args.only, WAYS)
            if args.pictures < 1 or not count_pictures(args.input):
                raise UserError("--pictures must be 1 or more, and --input must have some.", args.pictures)
            source = make_input(args.input, (args.keep_input or folder / "input").resolve(), args.pictures)
        except UserError as error:
            parser.error(str(error))
        warm(source)
        engines = Engines(folder, stack)
        titles = {name: WAYS[name] for name in names}
        rows = fastest(
            titles, args.repeats, lambda name: measure(name, source, args.pictures, engines, folder), "pictures"
        )
    print(table(rows), *targets(rows), sep="\n")
    if any(name.startswith("flink") for name in rows):
        print(f"Workers of Flink are processes; Beam's job server is {BEAM_JAVA}, Beam for Python {BEAM}.")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
