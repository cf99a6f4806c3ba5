"""A look at the inbox while a generation is made: what it finds, or raises, is there afterwards, once."""

import threading
from pathlib import Path

import pytest

from beam_jobs.prepare.plan import Plan
from beam_jobs.watch.ahead import LookAhead
from beam_jobs.watch.config import WatchJob, new_config
from beam_jobs.watch.cycle import Watcher
from beam_jobs.watch.inboxes.inbox import Arrivals
from beam_jobs.watch.ledger import Ledger
from beam_jobs.watch.perform import maker
from tests.arriving import SimpleInbox, drop
from tfrecords.errors import UserError
from tfrecords.files.place import Place


def test_a_look_runs_in_another_thread_and_ends_with_the_block() -> None:
    ahead, here = LookAhead(), threading.get_ident()
    seen: list[int] = []
    ahead.look = lambda: seen.append(threading.get_ident()) or Arrivals(waiting=3)  # type: ignore[func-returns-value]
    assert ahead.take() is None
    with ahead.running():
        pass
    assert len(seen) == 1 and seen[0] != here
    assert "look ahead" not in [thread.name for thread in threading.enumerate()]
    assert ahead.take() == Arrivals(waiting=3)
    assert ahead.take() is None, "it is taken once"


def test_an_error_of_the_look_is_raised_where_it_is_taken() -> None:
    ahead = LookAhead()

    def look() -> Arrivals:
        raise UserError("The inbox must be there.", "nothing")

    ahead.look = look
    with ahead.running():
        pass
    with pytest.raises(UserError, match="The inbox must be there"):
        ahead.take()
    assert ahead.take() is None


def test_what_arrives_while_a_generation_is_made_is_in_the_next_one(tmp_path: Path) -> None:
    config = new_config({"source": "svhn", "max_length": 5})
    inbox, ahead, looks = SimpleInbox(tmp_path / "inbox", config), LookAhead(), []
    make = maker(1)

    def making(plan: Plan) -> None:
        make(plan)
        drop(tmp_path / "inbox", f"during-{plan.output.name}")
        with ahead.running():
            looks.append(plan.output.name)

    drop(tmp_path / "inbox", "first")
    job = WatchJob(source="svhn", input=str(tmp_path / "inbox"), output=str(tmp_path / "stream"), every=0.0, pictures=1)
    watcher = Watcher(Place(tmp_path / "stream"), config, inbox, making, job, ahead)
    polls = 0
    poll = inbox.poll

    def counting(ledger: Ledger, most: int) -> Arrivals:
        nonlocal polls
        polls += 1
        return poll(ledger, most)

    inbox.poll = counting  # type: ignore[method-assign]
    reports = [watcher.cycle() for _ in range(3)]
    names = [[batch.name for batch in report.entry.batches] for report in reports if report.entry]
    assert names == [["first"], ["during-00000000"], ["during-00000001"]]
    assert (len(looks), polls) == (3, 4), "the looks of the second and third cycle were made before"
    watcher.cycle(closes=True)
    assert polls > 4, "a last look is a new one"
