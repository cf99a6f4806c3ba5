"""A run that follows a stream while it is killed and while the stream grows, and two hosts that follow together."""

import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.forked import Forked
from tests.growing import Growing
from tests.test_trainer_distribute_strategy import hosts_of_a_cluster
from tests.test_trainer_fit_follow import command_of, history_of, snapshots_of
from tests.test_trainer_fit_follow import dealt as dealt
from tests.test_trainer_fit_follow import stream as stream
from tests.test_trainer_fit_resume import saved_state
from trainer.distribute.cluster import TF_CONFIG


def _grow_on_a_clock(stream: Growing, stop: threading.Event, numbers: Iterator[int]) -> None:
    while not stop.wait(0.4):
        if (number := next(numbers, None)) is None:
            return
        stream.grow(number)


@pytest.mark.slow
def test_a_followed_run_killed_at_ten_random_steps_ends_as_an_undisturbed_replay(
    stream: Growing, tmp_path: Path
) -> None:
    run_dir, chance = tmp_path / "run", random.Random(5)
    numbers, kills = iter(range(1, 100)), 0
    options = ["--follow", "--epochs", "16", "--keep", "last", "--checkpoint-steps", "2", "--keep-checkpoints", "2"]
    command = command_of(stream.path, run_dir, *options)
    growing, stop = None, threading.Event()
    while kills < 30:
        if kills < 5:
            stream.grow(next(numbers))  # while it is dead
        elif growing is None:
            growing = threading.Thread(target=_grow_on_a_clock, args=(stream, stop, numbers))
            growing.start()  # and while it runs
        # At last when the weights of an epoch are saved, and the next snapshot is not chosen.
        kill = f"steps:{chance.randint(3, 9)}" if kills < 10 else "weights" if kills == 10 else ""
        code, output, errors = Forked(tiny.run, command, kill).wait()
        if not kill or code == 0:
            break
        assert code == -signal.SIGKILL, errors
        kills += 1
    stop.set()
    if growing:
        growing.join()
    assert (code, kills) == (0, 11), errors
    assert "Resuming after step " in output
    assert len(set(snapshots_of(run_dir))) >= 6
    replay = ["train", "--replay", str(run_dir), "--run-dir", str(tmp_path / "again")]
    code, _, errors = Forked(tiny.run, replay).wait()
    assert code == 0, errors
    state = saved_state(tmp_path / "again")
    assert any("momentum" in name for name in state) and any("average" in name for name in state)
    assert state == saved_state(run_dir)
    assert history_of(tmp_path / "again") == history_of(run_dir)


@pytest.mark.slow
def test_two_hosts_follow_together(stream: Growing, tmp_path: Path) -> None:
    def start(command: list[str]) -> list[tuple[int, str, str]]:
        environments = [{TF_CONFIG: host, "TF_CPP_MIN_LOG_LEVEL": "3"} for host in hosts_of_a_cluster(2)]
        return [each.wait() for each in [Forked(tiny.run, command, **values) for values in environments]]

    stop, numbers = threading.Event(), iter(range(1, 100))
    growing = threading.Thread(target=_grow_on_a_clock, args=(stream, stop, numbers))
    growing.start()
    ended = start(command_of(stream.path, tmp_path / "run", "--follow", "--epochs", "10", "--keep", "last"))
    stop.set()
    growing.join()
    assert [code for code, _, _ in ended] == [0, 0], ended
    seen = [
        [line.rpartition("snapshot ")[2] for line in output.splitlines() if line.startswith("epoch ")]
        for _, output, _ in ended
    ]
    assert seen[0] == seen[1] == [str(number) for number in snapshots_of(tmp_path / "run")]
    assert len(seen[0]) == 10 and len(set(seen[0])) > 1
    ended = start(["train", "--replay", str(tmp_path / "run"), "--run-dir", str(tmp_path / "again")])
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert saved_state(tmp_path / "again") == saved_state(tmp_path / "run")
