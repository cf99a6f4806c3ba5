"""TensorBoard profile of a few training steps."""

import contextlib
from pathlib import Path

import tensorflow as tf

SKIPPED_STEPS, PROFILED_STEPS = 10, 10
"""Steps before the profile, which trace and warm up, and steps in it."""


class Profile(contextlib.AbstractContextManager["Profile"]):
    """Profile of `PROFILED_STEPS` steps after the first `SKIPPED_STEPS`, recorded once.

    Leaving its block ends the recording early.
    """

    def __init__(self, folder: Path | None) -> None:
        """Prepares a profile.

        Args:
          folder: TensorBoard's folder, or None to record nothing.
        """
        self._folder = folder
        self._steps = 0
        self._is_on = False

    def step(self) -> None:
        """Starts or stops the recording where it is time to. Call it before each step."""
        if self._folder is None:
            return
        if self._steps == SKIPPED_STEPS:
            tf.profiler.experimental.start(str(self._folder))
            self._is_on = True
        elif self._is_on and self._steps == SKIPPED_STEPS + PROFILED_STEPS:
            self.__exit__()
        self._steps += 1

    def close(self) -> None:
        """Prints a line if there were too few steps to record any."""
        if self._folder is not None and self._steps <= SKIPPED_STEPS:
            first = SKIPPED_STEPS + 1
            print(f"--profile recorded nothing: it begins at step {first} of a start, which had {self._steps} steps.")

    def __exit__(self, *_: object) -> None:
        """Stops a recording in progress."""
        if self._is_on:
            tf.profiler.experimental.stop()
            self._is_on = False
