"""SIGTERM and SIGINT as requests to stop: the run finishes its step and saves a checkpoint first."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818  # not an error: the run is saved
    """A run was asked to stop and has saved a checkpoint."""

    def __init__(self, step: int) -> None:
        """Makes the message.

        Args:
          step: Last step that the checkpoint includes, counted over the run.
        """
        super().__init__(f"stopped after step {step:,} and saved; run the same command again to resume")


class StopRequest:
    """Records a signal within its block, for the training loop to check. A second SIGINT interrupts at once.

    Attributes:
      received: Signal that was received, or None.
    """

    def __init__(self) -> None:
        """Records nothing until its block is entered."""
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
        """Exit code of a shell convention: 128 plus the signal's number; SIGTERM's if another host got the signal."""
        return 128 + (self.received or signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
