"""Curves of a run: history.jsonl and TensorBoard's files, both written from one line per epoch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrecords.files.publish import atomic_write
from trainer.run.directory import HISTORY, TENSORBOARD


class History:
    """Writer of the curves.

    It begins by writing the lines of the checkpoint that a run resumes from, and drops any later ones. So each epoch
    appears once.
    """

    def __init__(self, directory: Path, lines: Sequence[dict[str, Any]]) -> None:
        """Replaces the curves in a run directory.

        Args:
          directory: Run directory.
          lines: Lines of the finished epochs.
        """
        self._directory = directory
        for path in (directory / TENSORBOARD).glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = tf.summary.create_file_writer(str(directory / TENSORBOARD))
        for line in lines:
            self._add_points(line)
        self._write(lines)

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Writes the lines of all finished epochs, of which the last one is new."""
        self._write(lines)
        self._add_points(lines[-1])

    def close(self) -> None:
        """Closes TensorBoard's file."""
        self._writer.close()

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        with atomic_write(self._directory / HISTORY) as stream:
            stream.write(_text(lines))

    def _add_points(self, line: dict[str, Any]) -> None:
        with self._writer.as_default(step=line["step"]):
            for name, value in line.items():
                if name not in ("epoch", "step"):
                    tf.summary.scalar(name, value)
        self._writer.flush()


def history_has(directory: Path, lines: Sequence[dict[str, Any]]) -> bool:
    """Returns whether the history.jsonl of a run directory consists of exactly these lines."""
    path = directory / HISTORY
    return path.is_file() and path.read_bytes() == _text(lines)


def _text(lines: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
