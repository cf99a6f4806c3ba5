"""A run that follows a stream while it is killed and while the stream grows, and two hosts that follow together."""

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
from tfrecords.cli import main
from trainer.__main__ import COMMANDS
from trainer.distribute.cluster import TF_CONFIG
from trainer.models import MODELS


@contextmanager
def _growing(stream: Growing, numbers: Iterator[int]) -> Iterator[None]:
    """Lets a stream grow every 0.4 s."""

    def grow() -> None:
        while not stop.wait(0.4) and (number := next(numbers, None)) is not None:
            stream.grow(number)

    stop = threading.Event()
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.slow
def test_a_followed_run_killed_at_ten_random_steps_ends_as_an_undisturbed_replay(
    stream: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_steps: None
) -> None:
    run_dir, chance = tmp_path / "run", random.Random(5)
    numbers = iter(range(1, 100))
    options = ["--follow", "--epochs", "10", "--keep", "last", "--checkpoint-steps", "2", "--keep-checkpoints", "2"]
    command = command_of(stream.path, run_dir, *options)
    # Before the first checkpoint; when the weights of an epoch are saved, and the next snapshot is not chosen; when it
    # is chosen and pinned, and not saved; when it is saved, and the curves are not; and in the midst of epochs.
    kills = ["steps:2", "weights", "choice", "history", *(f"steps:{chance.randint(3, 9)}" for _ in range(6))]
    for kill in kills:
        code, _, errors = Forked(tiny.run, command, kill).wait()
        assert code == -signal.SIGKILL, errors
        stream.grow(next(numbers))  # while it is dead
    with _growing(stream, numbers):  # and while it runs
        code, output, errors = Forked(tiny.run, command).wait()
    assert code == 0, errors
    assert "Resuming after step " in output
    assert len(snapshots_of(run_dir)) == 10 and len(set(snapshots_of(run_dir))) >= 6
    # The replay may run in this process: it has no part in what is killed.
    monkeypatch.setitem(MODELS, "tiny", tiny.build)
    replay = ["train", "--replay", str(run_dir), "--run-dir", str(tmp_path / "again")]
    assert main("trainer", "", COMMANDS, replay) == 0
    state = saved_state(tmp_path / "again")
    assert any("momentum" in name for name in state) and any("average" in name for name in state)
    assert state == saved_state(run_dir)
    assert history_of(tmp_path / "again") == history_of(run_dir)


@pytest.mark.slow
def test_two_hosts_follow_together(stream: Growing, tmp_path: Path) -> None:
    def start(command: list[str]) -> list[tuple[int, str, str]]:
        environments = [{TF_CONFIG: host, "TF_CPP_MIN_LOG_LEVEL": "3"} for host in hosts_of_a_cluster(2)]
        return [each.wait() for each in [Forked(tiny.run, command, **values) for values in environments]]

    with _growing(stream, iter(range(1, 100))):
        ended = start(command_of(stream.path, tmp_path / "run", "--follow", "--epochs", "6", "--keep", "last"))
    assert [code for code, _, _ in ended] == [0, 0], ended
    seen = [
        [line.rpartition("snapshot ")[2] for line in output.splitlines() if line.startswith("epoch ")]
        for _, output, _ in ended
    ]
    assert seen[0] == seen[1] == [str(number) for number in snapshots_of(tmp_path / "run")]
    assert len(seen[0]) == 6 and len(set(seen[0])) > 1
    ended = start(["train", "--replay", str(tmp_path / "run"), "--run-dir", str(tmp_path / "again")])
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert saved_state(tmp_path / "again") == saved_state(tmp_path / "run")
