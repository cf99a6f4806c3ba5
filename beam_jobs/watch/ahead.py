"""A look at the inbox while worker processes make a generation, so that the next one is ready when this one is."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from beam_jobs.watch.inboxes.inbox import Arrivals


class LookAhead:
    """One look in a thread. This process waits for its workers meanwhile, so the thread has the interpreter's lock.

    Attributes:
      look: Function that looks at the inbox; None to look at nothing.
    """

    def __init__(self) -> None:
        """Makes one that has seen nothing."""
        self.look: Callable[[], Arrivals] | None = None
        self._found: Arrivals | None = None
        self._error: Exception | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Looks while the block runs, and waits for the end of the look. No process may be forked in the block."""
        self._found = self._error = None
        thread = threading.Thread(target=self._run, name="look ahead", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def take(self) -> Arrivals | None:
        """Returns what the last look has found, once; None if there is nothing new.

        Raises:
          Exception: What the look has raised.
        """
        found, error = self._found, self._error
        self._found = self._error = None
        if error:
            raise error
        return found

    def _run(self) -> None:
        try:
            self._found = self.look() if self.look else None
        except Exception as error:  # for whoever takes it
            self._error = error
