"""A run's curves: history.jsonl and TensorBoard's files, both made from the lines of the epochs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrecords.files.publish import atomic_write
from trainer.run.directory import HISTORY, TENSORBOARD


class History:
    """Writes the curves: at first the lines that a run has already, so that what it does anew stands there once."""

    def __init__(self, directory: Path, lines: Sequence[dict[str, Any]]) -> None:
        """Args:
        directory: of the run.
        lines: of the epochs done.
        """
        self._directory = directory
        for path in (directory / TENSORBOARD).glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = tf.summary.create_file_writer(str(directory / TENSORBOARD))
        for line in lines:
            self._add_points(line)
        self._write(lines)

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Writes the lines, of which the last one is new."""
        self._write(lines)
        self._add_points(lines[-1])

    def close(self) -> None:
        """Ends TensorBoard's file."""
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


def holds(directory: Path, lines: Sequence[dict[str, Any]]) -> bool:
    """Returns whether history.jsonl has exactly these lines."""
    path = directory / HISTORY
    return path.is_file() and path.read_bytes() == _text(lines)


def _text(lines: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
