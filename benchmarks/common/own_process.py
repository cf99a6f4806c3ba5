"""Ways that are compared, each run in a process of its own; both sides of it.

    result, wall_s, peak = run("benchmarks.prepare.ways", "loop", job, folder)

runs `python -m benchmarks.prepare.ways loop JOB RESULT`, whose `main` is `answer(work)`.
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
_SECONDS_BETWEEN_LOOKS = 0.1


class HasSpeed(Protocol):
    """What one run of a way took."""

    @property
    def per_s(self) -> float: ...


M = TypeVar("M", bound=HasSpeed)


def fastest(titles: dict[str, str], repeats: int, measure: Callable[[str], M], unit: str) -> dict[str, M]:
    """Runs all ways in turn, several times, and returns the fastest run of each; a way that failed has none.

    Says on stderr what is going on.

    Args:
      titles: of the ways, by name.
      repeats: how many runs each way gets.
      measure: runs a way by its name; RuntimeError where it fails.
      unit: what `per_s` counts.
    """
    rows: dict[str, M] = {}
    runs = [item for _ in range(repeats) for item in titles.items()]
    for place, (name, title) in enumerate(runs, 1):
        print(f"[{place}/{len(runs)}] {title} ...", end=" ", file=sys.stderr, flush=True)
        try:
            row = measure(name)
        except RuntimeError as error:
            print(f"failed: {error}", file=sys.stderr)
            continue
        print(f"{row.per_s:,.0f} {unit}/s", file=sys.stderr)
        rows[name] = max(row, rows.get(name, row), key=lambda row: row.per_s)
    return {name: rows[name] for name in titles if name in rows}


def run(module: str, name: str, job: Any, folder: Path) -> tuple[Any, float, int]:
    """Runs one way.

    Args:
      module: whose `main` calls `answer`.
      name: of the way.
      job: a dataclass, whose fields JSON can hold.
      folder: for its log and result.

    Returns:
      What `answer` got, the seconds of the whole process, and the most memory that one of its processes had, bytes;
      0 where there is no /proc.

    Raises:
      RuntimeError: it failed; the text is the last line that it said.
    """
    result, log = folder / "result.json", folder / "log.txt"
    start = time.perf_counter()
    code, peak = _watch([sys.executable, "-m", module, name, json.dumps(asdict(job)), str(result)], log)
    wall = time.perf_counter() - start
    if code:
        said = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        raise RuntimeError(said[-1])
    return json.loads(result.read_text()), wall, peak


def answer(work: Callable[[str, dict[str, Any]], Any]) -> None:
    """Is `main` of a process that `run` starts: calls `work` with the way's name and the job's fields."""
    name, job, result = sys.argv[1:]
    Path(result).write_text(json.dumps(work(name, json.loads(job))))


def choose(only: str | None, names: Iterable[str]) -> list[str]:
    """Returns the names that `--only` gives, in the order that all of them have; None: all.

    Raises:
      UserError: it gives others.
    """
    names = list(names)
    chosen = only.split(",") if only else names
    if unknown := set(chosen) - {*names}:
        raise UserError(f"--only knows {', '.join(names)}.", ", ".join(sorted(unknown)))
    return [name for name in names if name in chosen]


def _watch(command: list[str], log: Path) -> tuple[int, int]:
    """Runs a command; returns its exit code and the most memory that one of its processes had, bytes."""
    peak = 0
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=_ROOT) as process:
        try:
            while process.poll() is None:
                peak = max(peak, *map(_peak_bytes, _tree(process.pid)))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        except BaseException:
            process.terminate()
            raise
    return process.returncode, peak


def _tree(pid: int) -> list[int]:
    """Returns a process and all below it."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids.extend(map(int, children.read_text().split()))
            except OSError:
                continue  # the thread has ended
    return pids


def _peak_bytes(pid: int) -> int:
    """Returns the most memory that a process has had; the kernel keeps count, so looking seldom misses little."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
