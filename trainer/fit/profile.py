"""A TensorBoard profile of some steps."""

import contextlib
from pathlib import Path

import tensorflow as tf

SKIPPED_STEPS, PROFILED_STEPS = 10, 10
"""The first steps trace and warm up."""


class Profile(contextlib.AbstractContextManager["Profile"]):
    """Records `PROFILED_STEPS` steps after `SKIPPED_STEPS`, once; a block that ends before ends it too."""

    def __init__(self, folder: Path | None) -> None:
        """Args:
        folder: of TensorBoard; None records nothing.
        """
        self._folder = folder
        self._steps = 0
        self._is_on = False

    def step(self) -> None:
        """To be called before each step."""
        if self._folder is None:
            return
        if self._steps == SKIPPED_STEPS:
            tf.profiler.experimental.start(str(self._folder))
            self._is_on = True
        elif self._is_on and self._steps == SKIPPED_STEPS + PROFILED_STEPS:
            self.__exit__()
        self._steps += 1

    def close(self) -> None:
        """Says so where there were too few steps."""
        if self._folder is not None and self._steps <= SKIPPED_STEPS:
            first = SKIPPED_STEPS + 1
            print(f"--profile recorded nothing: it begins at step {first} of a start, and there were {self._steps}.")

    def __exit__(self, *_: object) -> None:
        if self._is_on:
            tf.profiler.experimental.stop()
            self._is_on = False
