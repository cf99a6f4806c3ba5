"""Batches in a folder, local or in a store: `FolderInbox`.

INBOX holds a folder for each batch, or a file for sources that read one. Names that begin with `.` or `_` are ignored:
a producer writes there and renames, or puts the marker `_SUCCESS` into the batch last. Without a marker a batch is
ready when it is settled and complete. Times are differences of the watcher's own monotonic clock.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.sources.base import CORRECTIONS
from beam_jobs.watch.batch import BAD_NAME, CHANGED, INCOMPLETE, Batch, Refusal, check_name
from beam_jobs.watch.inboxes.after import After
from beam_jobs.watch.inboxes.identity import Files, list_files, stamp_of
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.inboxes.readiness import BadNameError, Look, difference_of, look_into, reason_of
from beam_jobs.watch.inboxes.top import Found, Known, Names, list_top, mark_of
from beam_jobs.watch.ledger import Accepted, Ledger
from tfrecords.errors import UserError, one_line
from tfrecords.files.place import Place

_MOST_WAITING = 1000
"""Batches whose state is kept while they settle: those of a longer backlog follow as these become ready."""
_POLLS_TO_COMPARE = 10
"""Polls in which the time of each known local folder is compared once: that is most of what a poll costs."""
_MOST_COMPARED = 200
"""Known local folders up to which each poll compares all."""
_LISTED_AGAIN = 16
"""Known local batches that a poll lists again, in turn: a change inside of one does not show at the top."""
_POLLS_OF_STORE = 10
"""Polls of a store to each known batch that is listed again: a listing is a request."""
_LISTED_AHEAD = 256
"""Batches of a store that a poll lists at once, before it knows whether it needs them all."""
_LISTING_SHARE = 20
"""Time between listings of known local batches, as a multiple of that of the last ones: 100,000 files take 0.5 s."""
_THREADS = 16
_OF_FILES = ("table", "coco", "cvat", "label-studio", "mnist", "optdigits")
"""Sources that read a file as a batch."""


@dataclass
class _Waiting:
    """State of a batch that is not ready.

    Attributes:
      first: Time of the first look.
      stamp: Stamp at the last look.
      since: Time of the first look with this stamp.
      look: What was found in it, if its annotations could be read.
      detail: What it lacks.
      next_try: Time at which its annotations are read again.
      corrects: Whether it has corrections, which are looked at whatever else there is.
    """

    first: float
    stamp: str
    since: float
    look: Look | None = None
    detail: str = ""
    next_try: float = 0.0
    corrects: bool = False


class FolderInbox:
    """A folder in which batches arrive."""

    def __init__(
        self,
        place: Place,
        config: PrepareConfig,
        *,
        settle_s: float = 5,
        marker: str = "_SUCCESS",
        patience_s: float = 600,
        after: After | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Looks at nothing yet.

        Args:
          place: Folder of the batches.
          config: How the batches are read.
          settle_s: Time for which a batch without marker must not change, seconds.
          marker: Name of the file that says that a batch is complete.
          patience_s: Time since its last change after which a batch that is not complete is refused, seconds.
          after: What becomes of a batch that a snapshot holds; None keeps it.
          now: Monotonic clock, seconds.

        Raises:
          UserError: The place cannot be listed, or the archive is in it.
        """
        if not place.has_listing:
            raise UserError("An inbox must be a folder, or a prefix of a store: servers of the web have none.", place)
        # The ledger keeps the paths of batches, for processes with other working directories.
        self.place = place if place.is_remote else Place(place.path.absolute())
        self._config, self._now = config, now
        self._reads_files = config.source in _OF_FILES
        self._settle_s, self._marker, self._patience_s = settle_s, marker, patience_s
        self._after = after or After.parse("keep")
        self._after.check(self.place)
        self._waiting: dict[str, _Waiting] = {}
        self._most_waiting = _MOST_WAITING
        self._known: dict[str, Known] = {}
        self._same: dict[str, str] = {}
        """Other stamp of an accepted batch whose content is what was accepted, by its file."""
        self._compared: list[str] = []
        self._listed: list[str] = []
        self._listing_s = 0.0
        self._next_turn = float("-inf")
        self._ahead: dict[str, tuple[Files | None, str]] = {}
        self._polls = 0
        self._folded: tuple[int, dict[str, str]] = (-1, {})

    def poll(self, ledger: Ledger, most: int) -> Arrivals:
        """Looks at the inbox once; see `Inbox`.

        Of a known batch the index node of its folder is compared, of a tenth of them the time too, and a few are
        listed. With 10,000 known folders this takes 14 ms of processor time (39 ms if the times of all are compared),
        and the first poll of a process 80 ms.
        """
        again = self._changed() | self._in_turn()
        top = list_top(self.place, self._reads_files, self._known, ledger.accepted, again | self._waiting.keys())
        self._polls += 1
        found = self._candidates(top, ledger)
        for file in again - {each.file for each in top}:
            self._forget(file)  # archived or deleted
        self._list_ahead(found)
        names = Names(found, self._known)
        # Corrections may wait for one of the others, so they take no room of theirs.
        self._most_waiting = _MOST_WAITING + sum(state.corrects for state in self._waiting.values())
        ready: list[Batch] = []
        refused: list[Refusal] = []
        entries = 0
        quiet = 0
        for each in found:
            state = self._waiting.get(each.file)
            corrects = state is not None and state.corrects
            if not corrects and (entries >= most or not self._has_room(each)):
                self._track(each, ledger)
                continue
            result = self._examine(each, ledger, names)
            if isinstance(result, Batch):
                ready.append(result)
                entries += max(1, result.entries)
            elif isinstance(result, Refusal):
                refused.append(result)
            else:
                quiet += result
        for file in self._waiting.keys() - {each.file for each in found}:
            del self._waiting[file]
        ready.sort(key=lambda batch: batch.name)
        refused.sort(key=lambda refusal: refusal.name)
        return Arrivals(ready, refused, len(found) - len(ready) - len(refused) - quiet, self._waiting_s(ready))

    def difference(self, batch: Batch, *, thorough: bool = False) -> str:
        """Returns how an accepted batch differs from what was accepted; see `Inbox`.

        A listing takes 16 ms for 4,000 pictures, and reading their annotations and ends 200 ms.

        Raises:
          UserError: The inbox as a whole cannot be read, or the batch not at this moment; or it is in another inbox.
        """
        if elsewhere := self._elsewhere(batch):
            return f"{elsewhere} is not there"
        place = self._place_of(batch)
        if place is None:
            return f"{self.place / batch.name} is not there"
        try:
            files = list_files(place)
        except FileNotFoundError:
            return f"{place} is not there"
        except OSError as error:
            raise UserError(f"{place}, which the ledger has accepted, must be readable.", one_line(error)) from error
        if not thorough and stamp_of(files) == batch.stamp:
            return ""
        try:
            found = look_into(batch.name, place, files, self._config, complete=False)
        except (UserError, OSError) as error:
            if stamp_of(files) == batch.stamp:  # what was accepted: the disk or the store fails
                raise UserError(f"{place}, which the ledger has accepted, must be readable.", error) from error
            return f"{place} cannot be read any more: {reason_of(error)}"
        difference = difference_of(batch, found)
        return difference and f"{place}: {difference}"

    def finish(self, batch: Batch) -> None:
        """Keeps, moves or deletes a batch; see `Inbox`. Another one that has come under its name is left alone.

        Raises:
          UserError: The batch cannot be moved or deleted.
        """
        if self._after.kind == "keep":
            return
        place = self._place_of(batch)
        if place is None:
            self._after.finish(self.place / batch.name)
            return
        try:
            is_accepted = stamp_of(list_files(place)) == batch.stamp
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{place} must be readable, since a snapshot holds it.", one_line(error)) from error
        if is_accepted or self._after.has_begun(place) or not self.difference(batch):
            self._after.finish(place)

    def _waiting_s(self, ready: list[Batch]) -> float:
        """Returns the time since the first look at the batch that waits longest, seconds."""
        done = {id(batch) for batch in ready}
        firsts = [state.first for state in self._waiting.values() if not state.look or id(state.look.batch) not in done]
        return self._now() - min(firsts) if firsts else 0.0

    def _candidates(self, top: list[Found], ledger: Ledger) -> list[Found]:
        """Returns the entries to examine, sorted by name."""
        if self._polls == 1:
            self._after.clean(self.place)
            # What an earlier process accepted is listed again when its turn comes, not all at the start.
            self._known = {
                each.file: Known(each.batch, True, each.mark) for each in top if each.batch in ledger.accepted
            }
        return sorted(each for each in top if self._polls > 1 or each.file not in self._known)

    def _changed(self) -> set[str]:
        """Returns the known local batches of a share whose folders show a change."""
        if self.place.is_remote:
            return set()
        share = max(_MOST_COMPARED, len(self._known) // _POLLS_TO_COMPARE)
        chosen = self._next(self._compared, share)
        return {file for file in chosen if mark_of(f"{self.place}/{file}") != self._known[file].mark}

    def _in_turn(self) -> set[str]:
        """Returns the known batches to list again in this poll."""
        if self.place.is_remote and self._polls % _POLLS_OF_STORE:
            return set()
        if (now := self._now()) < self._next_turn:
            return set()
        self._next_turn, self._listing_s = now + _LISTING_SHARE * self._listing_s, 0.0
        return set(self._next(self._listed, 1 if self.place.is_remote else _LISTED_AGAIN))

    def _next(self, turn: list[str], count: int) -> list[str]:
        """Takes the next known batches of a turn, which begins again when all of them had it."""
        if not turn:
            turn += self._known
        rest = max(0, len(turn) - count)
        chosen = turn[rest:]
        del turn[rest:]
        return [file for file in chosen if file in self._known]

    def _forget(self, file: str) -> None:
        for state in (self._known, self._same, self._waiting):
            state.pop(file, None)

    def _has_room(self, each: Found) -> bool:
        """Returns whether a batch can be examined: without room for its state, only one that has the marker."""
        if each.file in self._waiting or len(self._waiting) < self._most_waiting:
            return True
        return self._has_marker(each)

    def _has_marker(self, each: Found) -> bool:
        """Returns whether a local batch has the marker; False in a store, where to ask is a request."""
        return not self.place.is_remote and (self.place.path / each.file / self._marker).exists()

    def _track(self, each: Found, ledger: Ledger) -> None:
        """Begins to wait for a batch to settle, while other batches make a generation."""
        if each.file in self._waiting or each.batch in ledger.accepted or len(self._waiting) >= self._most_waiting:
            return
        if self._has_marker(each):
            return
        files, _ = self._list(each)
        if files is not None:
            self._state(each, stamp_of(files), files)

    def _list_ahead(self, found: list[Found]) -> None:
        """Lists the first batches of a store at the same time: one after the other takes some requests for each."""
        self._ahead = {}
        if self.place.is_remote and found:
            first = found[:_LISTED_AHEAD]
            with ThreadPoolExecutor(_THREADS) as threads:
                self._ahead = dict(zip([each.file for each in first], threads.map(self._list, first), strict=True))

    def _list(self, each: Found) -> tuple[Files | None, str]:
        """Returns the listing of a batch, None if it is gone; and why it cannot be listed."""
        if each.file in self._ahead:
            return self._ahead.pop(each.file)
        start = self._now()
        try:
            return list_files(self.place / each.file), ""
        except (FileNotFoundError, NotADirectoryError):
            return None, ""
        except OSError as error:
            return {}, reason_of(error)
        finally:
            self._listing_s += self._now() - start

    def _state(self, each: Found, stamp: str, files: Files) -> _Waiting:
        """Returns the state of a batch that waits; a changed one begins to wait again."""
        now = self._now()
        state = self._waiting.get(each.file)
        corrects = any(name in files for name in CORRECTIONS)
        if state is None:
            state = _Waiting(now, stamp, now, corrects=corrects)
            if corrects or len(self._waiting) < self._most_waiting:
                self._waiting[each.file] = state
        if state.stamp != stamp:
            self._waiting[each.file] = state = _Waiting(state.first, stamp, now, corrects=corrects)
        return state

    def _examine(self, each: Found, ledger: Ledger, names: Names) -> Batch | Refusal | bool:
        """Returns a batch that is ready, or that is to be refused; else whether it needs nothing, or else waits."""
        files, error = self._list(each)
        if files is None:
            self._forget(each.file)
            return True
        stamp = stamp_of(files)
        accepted = ledger.accepted.get(each.batch)
        is_known = accepted is not None and stamp in (accepted.stamp, self._same.get(each.file))
        if is_known or stamp in ledger.refused.get(each.batch, ()):
            self._waiting.pop(each.file, None)
            self._known[each.file] = Known(each.batch, accepted is not None, each.mark)
            return True
        state = self._state(each, stamp, files)
        waited = self._now() - state.since
        is_marked = self._marker in files
        if not is_marked and waited < self._settle_s:
            return False
        if rule := self._bad_name(each, ledger, names):
            return Refusal(each.batch, stamp, stamp, BAD_NAME, rule)
        is_late = waited >= self._patience_s
        if state.look is None and not error and (is_late or self._now() >= state.next_try):
            try:
                self._look(each, state, files, complete=accepted is None and not is_marked)
            except BadNameError as refusal:
                return Refusal(each.batch, stamp, stamp, BAD_NAME, reason_of(refusal))
        if state.look is not None:
            batch = state.look.batch
            return batch if accepted is None else self._compare(each, batch, accepted)
        if not is_late or state.stamp != stamp:
            return False
        return Refusal(each.batch, stamp, stamp, CHANGED if accepted else INCOMPLETE, error or state.detail)

    def _compare(self, each: Found, batch: Batch, accepted: Accepted) -> Refusal | bool:
        """Returns the refusal of a batch that is not what was accepted under its name; True if it is."""
        if batch.digest != accepted.digest:
            detail = f"the batch of this name in entry {accepted.entry} has other content"
            return Refusal(each.batch, batch.digest, batch.stamp, CHANGED, detail)
        self._same[each.file] = batch.stamp
        self._waiting.pop(each.file, None)
        self._known[each.file] = Known(each.batch, True, each.mark)
        return True

    def _look(self, each: Found, state: _Waiting, files: Files, *, complete: bool) -> None:
        """Reads a batch, and sets what was found, or what is missing and when to read it again."""
        place = self.place / each.file
        try:
            if "" in files and not self._reads_files:
                rule = f"A batch must be a folder: {self._config.source} reads no file alone."
                raise UserError(rule, each.file)
            found = look_into(each.batch, place, files, self._config, complete=complete)
            state.detail = found.lacks
        except BadNameError:
            raise
        except (UserError, OSError) as error:
            found, state.detail = None, reason_of(error)
        again, _ = self._list(each)
        now = self._now()
        if again is None or stamp_of(again) != state.stamp:
            state.stamp = ""  # it changed while it was read: the next look begins to wait again
            return
        if found is not None and not found.lacks:
            state.look = found
        # Pictures may come to another folder than the batch's, which its stamp does not show. Ever more seldom, since
        # annotations may be long.
        state.next_try = now + max(self._settle_s, (now - state.since) / 4)

    def _bad_name(self, each: Found, ledger: Ledger, names: Names) -> str:
        """Returns why a batch may not have its name; empty if it may."""
        try:
            check_name(each.batch)
        except UserError as error:
            return reason_of(error)
        if self._folded[0] != ledger.next:
            self._folded = ledger.next, {name.casefold(): name for name in ledger.accepted}
        accepted = self._folded[1].get(each.batch.casefold())
        if accepted is not None and accepted != each.batch:
            return f"The name of a batch must differ from that of an accepted one in more than its case: {accepted}."
        same = names.files[each.batch.casefold()]
        if accepted is not None:
            same = [file for file in same if file in self._known and self._known[file].is_accepted] or [each.file]
        if each.file not in (same if accepted is not None else same[:1]):
            return f"The name of a batch must differ from that of another one in more than case and ending: {same[0]}."
        return ""

    def _elsewhere(self, batch: Batch) -> Place | None:
        """Returns the place of a batch that was accepted from another inbox and is gone there; None for one of this.

        Raises:
          UserError: It is there.
        """
        places = [Place(subset.path) for subset in batch.subsets]
        if not places or any(place == self.place or place.text.startswith(f"{self.place}/") for place in places):
            return None
        if places[0].exists():
            rule = f"{places[0]} was accepted and is in no snapshot yet, so --input must be the folder that holds it."
            raise UserError(rule, self.place)
        return places[0]

    def _place_of(self, batch: Batch) -> Place | None:
        """Returns the place of a batch; None if it is gone.

        Raises:
          UserError: The inbox itself is gone, or cannot be read.
        """
        start = f"{self.place}/"
        inside = [subset.path.removeprefix(start) for subset in batch.subsets if subset.path.startswith(start)]
        for file in dict.fromkeys([*(path.partition("/")[0] for path in inside), batch.name]):
            if (self.place / file).exists():
                return self.place / file
        top = list_top(self.place, self._reads_files, {}, (), ())
        files = sorted(each.file for each in top if each.batch == batch.name)
        return self.place / files[0] if files else None
