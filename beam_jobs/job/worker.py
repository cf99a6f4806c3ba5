"""A worker process of `--direct_running_mode multi_processing`: Beam's own, which ends when its launcher does.

Beam is imported late, because a launcher that is killed meanwhile must not leave a worker behind.
"""

import logging
import os
import shlex
import sys
import threading
import time

_SECONDS_BETWEEN_CHECKS = 0.2


def command() -> str:
    """Returns the shell command with which this process launches a worker, as silent as this process's Beam."""
    # Ctrl-C in a terminal reaches the workers too, but only the launcher answers it. Signals that a shell ignores stay
    # ignored in what it executes, from the first moment.
    level = logging.getLogger("apache_beam").level
    return f"trap '' INT TERM; exec {shlex.quote(sys.executable)} -m {__name__} {os.getpid()} {level}"


def main(launcher: int, level: int) -> None:
    """Runs Beam's worker until it has finished, or until its launcher is gone.

    Args:
      launcher: Id of the parent process.
      level: Lowest level of the messages to log; Beam sets the levels of its loggers itself.
    """
    threading.Thread(target=end_with, args=(launcher,), daemon=True).start()
    logging.disable(level - 1)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv[:1])


def end_with(launcher: int) -> None:
    """Waits until the launcher is gone, and ends this process.

    Args:
      launcher: Id of the parent process.
    """
    while os.getppid() == launcher:
        time.sleep(_SECONDS_BETWEEN_CHECKS)
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
