"""One process at a time changes a stream: the watcher, or a command that compacts it."""

import contextlib
import time
import uuid
from collections.abc import Iterator

from beam_jobs import filesystem
from beam_jobs.file_lock import lock_folder
from beam_jobs.prepare import claim
from tfrecords.errors import UserError
from tfrecords.files.place import Place

LOCK = ".watch.lock"
"""Name of the lock of a local stream."""
CLAIM = ".watch.claim.json"
"""Name of the claim of a stream in a store, which has no locks."""
_PATIENCE_S = 2.0
"""Time to wait for the lock, seconds: workers of a process that was killed hold it for 0.2 s."""
_POLL_S = 0.1


@contextlib.contextmanager
def lock_stream(stream: Place) -> Iterator[None]:
    """Locks a stream while the block runs, by the operating system, or by a claim in a store.

    Args:
      stream: Folder of the stream; it is created.

    Raises:
      UserError: Another process has it, or the place cannot be written.
    """
    stream.refuse_web()
    if stream.is_remote:
        with claim.claimed(stream / CLAIM, uuid.uuid4().hex, str(stream)):
            yield
        return
    filesystem.make_folder(stream, lasting=True)
    with contextlib.ExitStack() as stack:
        _enter(stack, stream)
        yield


def _enter(stack: contextlib.ExitStack, stream: Place) -> None:
    """Takes the lock of a local stream.

    Raises:
      UserError: Another process has it.
    """
    error = UserError("Another process watches or compacts this stream: stop it, or give another one.", stream)
    stop = time.monotonic() + _PATIENCE_S
    while True:
        try:
            stack.enter_context(lock_folder(stream.path, error, LOCK))
            return
        except UserError:
            if time.monotonic() >= stop:
                raise
            time.sleep(_POLL_S)
