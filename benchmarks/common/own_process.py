"""Runs each of the compared ways in its own process: the parent's side and the child's.

    result, wall_s, peak = run_way("benchmarks.prepare.ways", "loop", job, folder)

runs `python -m benchmarks.prepare.ways loop JOB RESULT`, whose `main` calls `serve_way(work)`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tfrecords.errors import UserError

_ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.1


class HasSpeed(Protocol):
    """Costs of one run of a way."""

    @property
    def per_s(self) -> float:
        """Items per second."""


M = TypeVar("M", bound=HasSpeed)


def fastest(titles: dict[str, str], repeats: int, measure: Callable[[str], M], unit: str) -> dict[str, M]:
    """Runs all ways in turn, several times, and returns the fastest run of each; omits a way that always failed.

    Prints progress on standard error.

    Args:
      titles: Titles of the ways, by name.
      repeats: Number of runs per way.
      measure: Function that runs a way by its name, and raises RuntimeError if the way fails.
      unit: Name of the items that `per_s` counts.
    """
    rows: dict[str, M] = {}
    runs = [item for _ in range(repeats) for item in titles.items()]
    for index, (name, title) in enumerate(runs, 1):
        print(f"[{index}/{len(runs)}] {title} ...", end=" ", file=sys.stderr, flush=True)
        try:
            row = measure(name)
        except RuntimeError as error:
            print(f"failed: {error}", file=sys.stderr)
            continue
        print(f"{row.per_s:,.0f} {unit}/s", file=sys.stderr)
        rows[name] = max(row, rows.get(name, row), key=lambda row: row.per_s)
    return {name: rows[name] for name in titles if name in rows}


def run_way(module: str, name: str, job: Any, folder: Path) -> tuple[Any, float, int]:
    """Runs one way in its own process.

    Args:
      module: Module whose `main` calls `serve_way`.
      name: Name of the way.
      job: Dataclass whose fields JSON can hold.
      folder: Folder for the log and the result.

    Returns:
      Result of the way's work, seconds from the start of the process to its end, and the peak memory of its largest
      process in bytes; 0 without /proc.

    Raises:
      RuntimeError: The way failed; the text is the last line of its output.
    """
    result, log = folder / "result.json", folder / "log.txt"
    start = time.perf_counter()
    code, peak = _watch([sys.executable, "-m", module, name, json.dumps(asdict(job)), str(result)], log)
    wall = time.perf_counter() - start
    if code:
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        raise RuntimeError(lines[-1])
    return json.loads(result.read_text()), wall, peak


def serve_way(work: Callable[[str, dict[str, Any]], Any]) -> None:
    """Runs as `main` of a process that `run_way` started: calls `work` with the way's name and the job's fields."""
    name, job, result = sys.argv[1:]
    Path(result).write_text(json.dumps(work(name, json.loads(job))))


def choose(only: str | None, names: Iterable[str]) -> list[str]:
    """Returns the names that `--only` lists, in the order of `names`; all names without `--only`.

    Raises:
      UserError: `--only` lists an unknown name.
    """
    names = list(names)
    chosen = only.split(",") if only else names
    if unknown := set(chosen) - {*names}:
        raise UserError(f"--only takes names out of {', '.join(names)}.", ", ".join(sorted(unknown)))
    return [name for name in names if name in chosen]


def _watch(command: list[str], log: Path) -> tuple[int, int]:
    """Runs a command and returns its exit code and the peak memory of its largest process, bytes."""
    peak = 0
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=_ROOT) as process:
        try:
            while process.poll() is None:
                peak = max(peak, *map(_peak_bytes, _tree(process.pid)))
                time.sleep(_POLL_S)
        except BaseException:
            process.terminate()
            raise
    return process.returncode, peak


def _tree(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids.extend(map(int, children.read_text().split()))
            except OSError:
                continue  # the thread has ended
    return pids


def _peak_bytes(pid: int) -> int:
    """Returns the peak memory of a process so far. The kernel keeps it, so that seldom polling misses little."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
