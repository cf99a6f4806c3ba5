"""Hosts and devices: TF_CONFIG, two real processes, replicas and their dropout masks."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import host_losses, tiny
from tests.forked import Forked
from tests.test_trainer_fit_resume import OPTIONS, saved_state
from tfrecords.cli import main
from tfrecords.errors import UserError
from trainer.__main__ import COMMANDS
from trainer.distribute.cluster import TF_CONFIG, Cluster
from trainer.distribute.strategy import HOST_LOST, make_strategy
from trainer.fit.step import make_masks_stateless

TWO = {"worker": ["a:1", "b:1"]}


def _cluster(content: object) -> Cluster:
    return Cluster.from_environment({TF_CONFIG: content if isinstance(content, str) else json.dumps(content)})


def test_without_other_hosts_there_is_one() -> None:
    assert Cluster.from_environment({}) == _cluster("") == _cluster({}) == Cluster()
    assert Cluster().hosts == 1 and Cluster().is_chief
    alone = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert _cluster(alone).hosts == 1


def test_the_chief_comes_first_and_an_evaluator_does_not_count() -> None:
    jobs = {"worker": ["a:1", "b:1"], "chief": ["c:1"], "evaluator": ["d:1"]}
    found = [_cluster({"cluster": jobs, "task": {"type": "worker", "index": index}}) for index in (0, "1")]
    assert found == [Cluster(("c:1", "a:1", "b:1"), 1), Cluster(("c:1", "a:1", "b:1"), 2)]
    assert _cluster({"cluster": jobs, "task": {"type": "chief", "index": 0}}).is_chief
    assert _cluster({"cluster": TWO, "task": {"type": "worker", "index": 0}}).is_chief


def test_a_host_says_what_it_is_and_whom_it_joined() -> None:
    chief, worker = (Cluster(("c:1", "a:2"), host) for host in (0, 1))
    assert str(chief) == "host 1 of 2 (c:1), the chief: scores, and writes the run"
    assert str(worker) == "host 2 of 2 (a:2): joined the chief c:1, which scores and writes the run"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"TF_CONFIG must be JSON \(.*\)\. Received: {$"),
        ("[]", r"TF_CONFIG must be a JSON object\. Received: \[\]$"),
        ({"cluster": {"worker": "a:1"}}, r'"cluster" must list the addresses HOST:PORT .* Received: '),
        ({"cluster": {"worker": ["a"]}}, r'"cluster" must list the addresses HOST:PORT .* Received: '),
        ({"cluster": {**TWO, "ps": ["c:1"]}}, r"no parameter servers here\. Received: ps$"),
        ({"cluster": {"chief": ["a:1", "b:1"]}}, r"there must be one chief\. Received: "),
        ({"cluster": TWO}, r'"task" must have a type and an index\.$'),
        ({"cluster": TWO, "task": {"type": "worker"}}, r'"task" must have a type and an index\. Received: '),
        ({"cluster": TWO, "task": {"type": "chief", "index": 0}}, r"one of the cluster's: worker\. Received: chief$"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, r"a worker must be 0 to 1\. Received: 2$"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, r"a worker must be 0 to 1\. Received: -1$"),
        (
            {"cluster": {**TWO, "evaluator": ["c:1"]}, "task": {"type": "evaluator", "index": 0}},
            r"an evaluator has nothing to do, because the chief validates\. Received: ",
        ),
    ],
)
def test_a_wrong_tf_config_is_refused(content: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _cluster(content)


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--data", str(records), "--run-dir", str(tmp_path / "run"), "--device", "gpu"]
    assert main("trainer", "", COMMANDS, command) == 1
    line = "error: --device gpu needs a GPU that TensorFlow can use; auto uses what there is. Received: no GPU\n"
    assert capsys.readouterr().err == line
    assert not (tmp_path / "run").exists()


def test_replicas_drop_different_units_and_the_same_ones_when_a_step_is_done_again() -> None:
    strategy = make_strategy(Cluster(), "cpu", 1.0)
    if strategy.num_replicas_in_sync < 2:
        pytest.skip("TensorFlow has started with one device")
    with strategy.scope():
        step = keras.Variable(5, dtype="int64")
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5)])
    make_masks_stateless(model, 0, step)

    @tf.function
    def draw() -> tuple[tf.Tensor, ...]:
        values = strategy.run(lambda: model(tf.ones((1, 64)), training=True))
        return strategy.experimental_local_results(values)

    first, second = (value.numpy() for value in draw())
    assert (first != second).any()
    np.testing.assert_array_equal([value.numpy() for value in draw()], [first, second])
    step.assign(6)
    assert (draw()[0].numpy() != first).any() and (draw()[0].numpy() != second).any()


def hosts_of_a_cluster(count: int) -> list[str]:
    """Returns the TF_CONFIG of each of some hosts, on free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    cluster = {"worker": addresses}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(count)]


def _start(host: str, work: Callable[..., int], *arguments: Any) -> Forked:
    # TensorFlow logs each lost connection.
    return Forked(work, *arguments, **{TF_CONFIG: host, "TF_CPP_MIN_LOG_LEVEL": "3"})


@pytest.mark.slow
def test_two_hosts_have_the_losses_of_one_device_and_of_two_replicas() -> None:
    hosts = [_start(host, host_losses.run) for host in hosts_of_a_cluster(2)]
    ended = [host.wait() for host in hosts]
    assert [code for code, _, _ in ended] == [0, 0], ended
    found = [json.loads(output.splitlines()[-1]) for _, output, _ in ended]
    assert found[0] == found[1]
    one = host_losses.losses(Cluster(), tf.distribute.get_strategy())
    np.testing.assert_allclose(found[0][0], one, atol=1e-5)
    np.testing.assert_allclose(found[0][1], one, rtol=1e-4)
    np.testing.assert_allclose(host_losses.losses(Cluster(), make_strategy(Cluster(), "cpu", 1.0)), one, atol=1e-5)
    assert one[3] < one[0]


@pytest.mark.slow
def test_a_host_that_never_comes_ends_the_run_at_the_deadline(records: Path, tmp_path: Path) -> None:
    command = ["train", "--data", str(records), "--run-dir", str(tmp_path / "run"), "--host-minutes", "0.02"]
    for host in [_start(hosts_of_a_cluster(2)[index], tiny.run, command) for index in (0, 1)]:
        code, _, errors = host.wait(120)
        assert code in (-signal.SIGUSR1, HOST_LOST)
        (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert line.startswith("error: all 2 hosts must join within 0.02 minutes (--host-minutes). Received: not all")


@pytest.mark.slow
def test_a_killed_host_stops_the_other_and_both_go_on_exactly(records: Path, tmp_path: Path) -> None:
    def start(run_dir: Path, kill: str = "") -> list[Forked]:
        options = [*OPTIONS, "--checkpoint-steps", "2", "--deterministic"]
        command = ["train", "--data", str(records), "--run-dir", str(run_dir), *options]
        chief, worker = hosts_of_a_cluster(2)
        return [_start(chief, tiny.run, command), _start(worker, tiny.run, command, kill)]

    whole = start(tmp_path / "whole")
    chief, worker = start(tmp_path / "killed", "steps:4")
    assert worker.wait()[0] == -signal.SIGKILL
    began = time.monotonic()
    code, _, errors = chief.wait()
    assert time.monotonic() - began < 30
    assert code == HOST_LOST
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: one of the 2 hosts no longer answers; start the same command on all of them")
    again = start(tmp_path / "killed")
    ended = [host.wait() for host in (*again, *whole)]
    assert [code for code, _, _ in ended] == [0] * 4, ended
    assert "Resuming after step " in ended[0][1] and "Resuming" not in ended[2][1]
    for output, place in ((ended[2][1], "host 1 of 2 ("), (ended[3][1], "host 2 of 2 (")):
        lines = output.splitlines()
        assert lines[0].startswith("Waiting for the 2 hosts ") and lines[1].startswith(f"Training on {place}")
        assert [line.split("  ")[0] for line in lines if line.startswith("epoch ")] == ["epoch 1/2", "epoch 2/2"]
    assert all(": joined the chief 127.0.0.1:" in ended[index][1] for index in (1, 3))
    # No bars without a terminal.
    assert not any("\r" in errors or "steps/s" in errors for _, _, errors in ended)
    assert saved_state(tmp_path / "killed") == saved_state(tmp_path / "whole")
