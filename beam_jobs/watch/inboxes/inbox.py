"""What the watcher needs from a place where labelled pictures arrive: the `Inbox` protocol."""

from dataclasses import dataclass, field
from typing import Protocol

from beam_jobs.watch.batch import Batch, Refusal
from beam_jobs.watch.ledger import Ledger


@dataclass(frozen=True)
class Arrivals:
    """What one look at an inbox has found.

    Attributes:
      ready: Batches that may be accepted, sorted by name: complete, and neither accepted nor refused before.
      refused: Batches to refuse now, each for the first time.
      waiting: Number of batches that are not ready yet.
      waiting_s: Time since the first look at the one that waits longest, seconds; 0 without one.
    """

    ready: list[Batch] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    waiting: int = 0
    waiting_s: float = 0.0


class Inbox(Protocol):
    """A place where batches arrive."""

    def poll(self, ledger: Ledger, most: int) -> Arrivals:
        """Looks at the inbox once.

        Args:
          ledger: What was accepted and refused before.
          most: Number of entries of the ready batches at which the look ends: what follows stays in the inbox.

        Raises:
          UserError: The inbox as a whole cannot be read.
        """

    def difference(self, batch: Batch, *, thorough: bool = False) -> str:
        """Returns how an accepted batch differs from what was accepted, as a sentence; empty if it does not.

        Args:
          batch: Batch that the ledger accepted and no snapshot holds yet.
          thorough: Whether to read it also where a listing shows no difference.

        Raises:
          UserError: The batch cannot be read, although it is what was accepted.
        """

    def finish(self, batch: Batch) -> None:
        """Does with a batch what is to be done when a snapshot holds it: keeps, moves or deletes it.

        It may be called again for a batch that was moved or deleted, after a kill.

        Raises:
          UserError: The batch cannot be moved or deleted.
        """
