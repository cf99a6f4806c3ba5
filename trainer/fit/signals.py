"""SIGTERM and SIGINT: asked to stop, a run ends its step and saves itself first."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818  # no error: the run is saved
    """A run was asked to stop, and saved itself."""

    def __init__(self, step: int) -> None:
        """Args:
        step: of the whole run, up to which it is saved.
        """
        super().__init__(f"stopped after step {step:,}, which is saved: the same command goes on from there")


class StopRequest:
    """Notes a signal within its block, for the loop to look at; a second SIGINT interrupts at once.

    Attributes:
      received: the signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells have it; SIGTERM's where another host was asked."""
        return 128 + (self.received or signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
