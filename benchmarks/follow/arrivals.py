"""A stream whose batches arrive between the epochs of a run that follows it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.watch.watcher import Watcher
from tfrecords.dataset.snapshots import find_snapshot, load_manifest, snapshot_numbers
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from trainer.run.directory import CONFIG, HISTORY

_ROOT = Path(__file__).parents[2]
_POLL_S = 0.05
_PATIENCE_S = 600.0
"""Time for a batch to become part of a snapshot, or for a run to start or to end an epoch, seconds."""
_QUICK = ("--every", "0.1", "--poll", "0.2", "--workers", "1")
_STEADY = ("--compact", "off")
"""A merge would make a snapshot of its own whenever the watcher has time for it."""


class Stream:
    """A stream, its inbox and its watcher.

    Attributes:
      path: Folder of the stream.
    """

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        """Takes a folder for both, and options of `prepare`."""
        self.path, self._inbox = folder / "stream", folder / "inbox"
        self._watcher = Watcher(self._inbox, self.path, *options, *_QUICK, *_STEADY)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Lets the watcher run."""
        self._inbox.mkdir(parents=True, exist_ok=True)
        self._watcher.start()
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends the watcher, as a crash would: nothing is lost."""
        self._watcher.kill()

    def batches(self) -> int:
        """Returns the number of batches of the newest snapshot."""
        place = Place(self.path)
        numbers = snapshot_numbers(place) if self.path.is_dir() else []
        if not numbers:
            return 0
        found = find_snapshot(place, load_manifest(place, numbers[-1]), numbers[-1])
        return found.batches if found else 0

    def add(self, batches: Sequence[Path]) -> None:
        """Drops batches that are not there yet, one after the other, and waits for the snapshot of each.

        Args:
          batches: All batches that the stream is to have then, in order.

        Raises:
          UserError: The watcher ends or takes too long.
        """
        for count, batch in enumerate(batches, 1):
            target, hidden = self._inbox / batch.name, self._inbox / f".{batch.name}"
            if not target.exists():
                shutil.rmtree(hidden, ignore_errors=True)
                shutil.copytree(batch, hidden)
                (hidden / "_SUCCESS").touch()
                hidden.rename(target)
            await_that(partial(self._has, count), self._watcher.process, "watch")

    def _has(self, batches: int) -> bool:
        return self.batches() >= batches


def follow(stream: Stream, batches: Sequence[Path], per_epoch: int, run_dir: Path, words: Sequence[str]) -> None:
    """Trains a run that follows, while batches arrive: so many before its start, and as many in each epoch.

    Batches that the stream has from an earlier start are not dropped again. The run is paused while a batch becomes a
    snapshot, so that the next epoch has it, whatever else the machine does.

    Args:
      stream: Stream, empty at first.
      batches: Batches, in the order of their arrival.
      per_epoch: Number of batches that arrive at once.
      run_dir: Run directory.
      words: Words after `python -m` of the training.

    Raises:
      UserError: A command fails.
    """
    with stream.watched():
        stream.add(batches[:per_epoch])
        print(f"$ python -m {' '.join(words)}", flush=True)
        with subprocess.Popen([sys.executable, "-m", *words], cwd=_ROOT) as training:
            try:
                for finished, start in enumerate(range(per_epoch, len(batches), per_epoch)):
                    arrived = batches[: start + per_epoch]
                    if stream.batches() < len(arrived):
                        await_that(partial(_has_finished, run_dir, finished), training, "train")
                        with _paused(training):
                            stream.add(arrived)
                stream.stop()
                code = training.wait()
            finally:
                training.kill()  # if it has not ended
    if code:
        raise UserError("train must end well.", f"exit code {code}")


def _has_finished(run_dir: Path, epochs: int) -> bool:
    """Returns whether a run has begun, and finished so many epochs."""
    history = run_dir / HISTORY
    finished = history.read_bytes().count(b"\n") if history.is_file() else 0
    return (run_dir / CONFIG).is_file() and finished >= epochs


@contextmanager
def _paused(process: subprocess.Popen[bytes]) -> Iterator[None]:
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def await_that(is_so: Callable[[], bool], process: subprocess.Popen[bytes] | None, name: str) -> None:
    """Waits for something that a command does.

    Args:
      is_so: Function that returns whether it is done.
      process: Process of the command.
      name: Name of the command.

    Raises:
      UserError: The command ends, or takes too long.
    """
    stop = time.monotonic() + _PATIENCE_S
    while not is_so():
        if process is None or process.poll() is not None:
            code = f"exit code {process and process.returncode}"
            raise UserError(f"{name} must not end before all batches have arrived.", code)
        if time.monotonic() > stop:
            raise UserError(f"{name} must not take longer than {_PATIENCE_S:.0f} s for an epoch or a batch.")
        time.sleep(_POLL_S)
