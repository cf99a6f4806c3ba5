"""The watcher as a user starts it, in a process group of its own, and a reader next to it."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tfrecords.dataset.reader import Examples
from tfrecords.dataset.snapshots import load_manifest, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place

_ROOT = Path(__file__).parents[2]
_RECORDS = 50
"""Records that the reader takes of a snapshot, at random."""


class Watcher:
    """The command `watch` on an inbox and a stream, started, killed and awaited."""

    def __init__(self, inbox: Path, stream: Path, *options: str) -> None:
        """Takes the paths and further options."""
        self._command = [sys.executable, "-m", "beam_jobs", "watch", "--source", "svhn", "--input", str(inbox)]
        self._command += ["--output", str(stream), *options]
        stream.parent.mkdir(parents=True, exist_ok=True)
        self._log = stream.parent / f"{stream.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Starts it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, *options], cwd=_ROOT, stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def kill(self) -> None:
        """Kills it and all its processes, as `kill -9` does."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def run(self, *options: str) -> tuple[float, float]:
        """Runs it to its end; returns seconds by the clock and of processors.

        Raises:
          UserError: It fails.
        """
        return timed([*self._command, *options], self._log)

    def last_line(self) -> str:
        """Returns the last line that it has printed."""
        return (self._log.read_text(errors="replace").splitlines() or [""])[-1]


def compact(stream: Path) -> tuple[float, float]:
    """Merges all directories of a stream; returns seconds by the clock and of processors.

    Raises:
      UserError: The command fails.
    """
    command = [sys.executable, "-m", "beam_jobs", "compact", str(stream), "--full"]
    return timed(command, stream.parent / f"{stream.name}.log")


def timed(command: list[str], log: Path) -> tuple[float, float]:
    """Runs a command; returns seconds by the clock and of processors, those of its own processes included.

    Raises:
      UserError: It fails.
    """
    start, used = time.perf_counter(), _used()
    with log.open("ab") as stream:
        code = subprocess.run(command, cwd=_ROOT, stdout=stream, stderr=stream, check=False).returncode
    if code:
        raise UserError(f"{' '.join(command[2:5])} must end well; its lines are in {log}.", f"exit code {code}")
    return time.perf_counter() - start, _used() - used


def _used() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def rss_bytes(pid: int) -> int:
    """Returns the resident memory of a process; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * resource.getpagesize()


class Reader:
    """A process that reads random records of the newest snapshot for as long as it lives."""

    def __init__(self, stream: Path) -> None:
        """Starts it."""
        command = [sys.executable, "-m", "benchmarks.watch.watcher", str(stream)]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def finish(self) -> tuple[int, list[str]]:
        """Ends it; returns how often it opened a snapshot, and its errors."""
        output, _ = self._process.communicate()
        found = json.loads(output)
        return found["opened"], found["errors"]


def read_until_told(stream: Path, pause_s: float = 0.05) -> None:
    """Reads until the standard input ends; prints how often a snapshot was opened, and the errors."""
    opened, newest, errors = 0, -1, list[str]()
    rng = random.Random(0)
    os.set_blocking(sys.stdin.fileno(), False)
    while sys.stdin.buffer.read(1) is None:
        time.sleep(pause_s)
        numbers = snapshot_numbers(Place(stream))
        if not numbers:
            continue
        if numbers[-1] < newest:
            errors.append(f"snapshot {newest}, then {numbers[-1]}")
        newest = numbers[-1]
        try:
            errors += _read_some(stream, newest, rng)
        except (UserError, OSError) as error:
            errors.append(f"snapshot {newest}: {error}")
        opened += 1
    print(json.dumps({"opened": opened, "errors": errors}))


def _read_some(stream: Path, number: int, rng: random.Random) -> Iterator[str]:
    """Yields what is wrong with a snapshot, or with what opens as the newest one."""
    manifest = load_manifest(stream, number)
    for split in manifest.splits:
        examples = Examples(Place(stream), manifest, split, verify=True, on_error="raise")
        for index in rng.sample(range(len(examples)), min(_RECORDS, len(examples))):
            if not examples[index].key.startswith("b"):
                yield f"snapshot {number}: {split} {index} is {examples[index].key}"


if __name__ == "__main__":
    read_until_told(Path(sys.argv[1]))
