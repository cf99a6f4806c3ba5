"""A claim on an output in a store, which has no locks: an object that one run creates, renews and deletes.

A store creates the object for one of several runs that try (`If-None-Match` on S3, a generation on Google's). The owner
renews it, so that a run that was killed can be told from one that works: on the same machine by its process, elsewhere
by a claim that stays as it is for `_LEASE_S`. No two clocks are compared.

Workers look at it before they write a shard and before they write the manifest, so that those of a job whose claim was
taken over write nothing more. S3 renews and takes over only the claim that was read (`If-Match`): an owner that was
paused cannot take it back. Elsewhere two runs that wait for the same dead owner may take its claim over in the same
moment: the one whose claim is replaced finds out at its next shard or renewal, and ends.
"""

import contextlib
import getpass
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.interrupts import end_process
from tfrecords.typed_json import from_json, parse_object

_RENEWAL_S = 15.0
"""Time between renewals, seconds: two requests each."""
_LEASE_S = 60.0
"""Time without a renewal after which an owner is taken for dead, seconds: three renewals may fail."""
_POLL_S = 2.0
"""Time between looks at the claim of another run, seconds."""


@dataclass(frozen=True)
class Claim:
    """What a claim says.

    Attributes:
      run: Unique name of the run.
      owner: User and host.
      machine: Boot and process namespace of the owner; empty where the system names none.
      process: Number of the owner's process.
      renewals: Number of renewals.
    """

    run: str
    owner: str
    machine: str
    process: int
    renewals: int = 0

    @classmethod
    def of_this_process(cls, run: str) -> "Claim":
        """Returns the claim of a run of this process."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # a container's user may have no name
            user = str(os.getuid())
        return cls(run, f"{user}@{socket.gethostname()}", _machine(), os.getpid())

    @property
    def is_dead(self) -> bool:
        """Whether the owner was a process of this machine that has ended."""
        if not self.machine or self.machine != _machine():
            return False
        if self.process == os.getpid():
            return True
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    def to_json(self) -> bytes:
        """Returns the content of the object."""
        return json.dumps(asdict(self), indent=1).encode()


@contextlib.contextmanager
def claimed(place: Place, run: str, output: str) -> Iterator[None]:
    """Claims an output while the block runs; renews the claim in a thread, and deletes it at the end.

    Args:
      place: Place of the claim.
      run: Unique name of the run.
      output: Output, for messages.

    Raises:
      UserError: Another run claims it, or the place cannot be written.
    """
    claim = Claim.of_this_process(run)
    _take(place, claim, output)
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(place, claim, output, ended), name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            if is_of(place, run):
                place.delete()
        except (OSError, UserError) as error:
            # In place of an error of the block, it would hide that one.
            print(f"warning: {place} is left: the next run there waits {_LEASE_S:g} s. {error}", file=sys.stderr)


def is_of(place: Place, run: str) -> bool:
    """Returns whether a claim is that of a run, which is so until another one takes it over."""
    content = _read(place)
    claim = _parse(content, place) if content is not None else None
    return claim is not None and claim.run == run


def check(place: Place, run: str) -> None:
    """Checks that an output is still that of a run: its worker may have outlived it, and another run may be writing.

    Raises:
      UserError: It is not.
    """
    if not is_of(place, run):
        raise UserError(
            f"{place} must be the claim of this run: it has ended, or another one has taken its output over."
        )


def _take(place: Place, claim: Claim, output: str) -> None:
    """Creates the claim, after a wait for that of another run that may be dead.

    Raises:
      UserError: Another run is alive.
    """
    while not place.create(claim.to_json()):
        content = _read(place)
        if content is None:
            continue
        other = _parse(content, place)
        if other and other.run == claim.run:
            return  # ours: the answer to the first attempt was lost
        if not (other and other.is_dead):
            _await_end(place, content, other, output)
        # Not if it was renewed, or taken over, in this moment.
        if place.replace(content, claim.to_json()):
            return


def _await_end(place: Place, content: bytes, other: Claim | None, output: str) -> None:
    """Waits until a claim is gone, or has not changed for as long as a living owner renews it.

    Raises:
      UserError: It was renewed.
    """
    owner = f"{other.owner} (process {other.process})" if other else "an unknown owner"
    line = f"{output} is claimed by {owner}: looking for up to {_LEASE_S:g} s whether that run is alive"
    print(f"note: {line}", file=sys.stderr)
    stop = time.monotonic() + _LEASE_S
    while time.monotonic() < stop:
        time.sleep(_POLL_S)
        now = _read(place)
        if now is None:
            return
        if now != content:
            rule = (
                f"{owner} is writing to {output}: wait until that run has finished, stop it, or give another --output. "
                f"Its claim is {place}."
            )
            raise UserError(rule)


def _renew(place: Place, claim: Claim, output: str, ended: threading.Event) -> None:
    """Renews a claim until its run has ended; ends the process if another run has taken it over."""
    while not ended.wait(_RENEWAL_S):
        claim = replace(claim, renewals=claim.renewals + 1)
        try:
            found = _read(place)
            other = _parse(found, place) if found is not None else None
            is_ours = other is not None and other.run == claim.run
            if found is not None and is_ours and not ended.is_set():
                # Where another run comes between, the next look finds it.
                place.replace(found, claim.to_json())
        except (OSError, UserError):
            continue  # the store does not answer: what the run itself writes there fails, or passes, alike
        if not is_ours:
            # Not created again where it is gone: a run that took it over may have finished meanwhile.
            owner = other.owner if other else "another run"
            end_process(f"error: {owner} has taken over {output}, since this run did not renew its claim in time.", 1)


def _read(place: Place) -> bytes | None:
    """Returns the content of the claim; None if there is none."""
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None


def _parse(content: bytes, place: Place) -> Claim | None:
    """Returns the claim of a content; None if it is damaged, or of another version."""
    try:
        return from_json(Claim, parse_object(content, str(place)), str(place))
    except UserError:
        return None


def _machine() -> str:
    """Returns what tells this boot of this machine, or container, from others; empty where the system has no such."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
