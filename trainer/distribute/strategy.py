"""The devices that share a step: of this host, or of several."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context

from tfrecords.errors import UserError
from trainer.distribute.cluster import Cluster

HEARTBEAT_SECONDS = 10
"""A host that is silent for so long is gone. The others notice 5 to 10 s after it was killed."""
HOST_LOST = 138
"""Exit code of a run that lost a host: as of a process that SIGUSR1 ended, which Kubeflow tries again."""

# Waits for its input to end, which says that all is well; else it ends its parent, with a line that says why.
_WATCHDOG = """
import os, select, signal, sys
parent, seconds, line = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if not select.select([sys.stdin], [], [], seconds)[0]:
    print(line, file=sys.stderr, flush=True)
    os.kill(parent, signal.SIGUSR1)
"""


def make_strategy(cluster: Cluster, device: str, minutes: float) -> tf.distribute.Strategy:
    """Returns the strategy of all devices; where there are several hosts, once all of them have come.

    Call it before anything else is asked of TensorFlow.

    Args:
      cluster: the hosts.
      device: auto, cpu or gpu; auto takes GPUs where there are any.
      minutes: in which all hosts must have come; else the process ends with a line and `HOST_LOST`.

    Raises:
      UserError: no GPU where one was asked for.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError("--device gpu needs a GPU that TensorFlow sees; auto takes what there is.", "no GPU")
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    if cluster.hosts > 1:
        return _multi_worker(cluster, minutes)
    kind = "GPU" if gpus and device != "cpu" else "CPU"
    names = [logical.name for logical in tf.config.list_logical_devices(kind)]
    if len(names) == 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    # Collective operations of two strategies in one process are confused with each other on CPUs (2.21).
    reduction = None if kind == "GPU" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


@dataclass(frozen=True)
class Place:
    """Where a run is trained: on which data, hosts and devices.

    Attributes:
      data: dataset directory.
      cluster: the hosts, this one among them.
      strategy: of all devices.
    """

    data: Path
    cluster: Cluster
    strategy: tf.distribute.Strategy

    def share(self, value: float) -> list[float]:
        """Waits for all hosts and returns each one's value, the chief's first."""
        return _share(self.strategy, self.cluster.hosts, value)


def _multi_worker(cluster: Cluster, minutes: float) -> tf.distribute.Strategy:
    """Returns a MultiWorkerMirroredStrategy over hosts that are all workers, the chief being the first."""
    # The strategy would set this up by itself, with its own, longer times; there is no public way (2.21).
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=int(minutes * 60_000),
        heartbeat_timeout_in_ms=HEARTBEAT_SECONDS * 1000,
        shutdown_barrier_timeout_in_ms=HEARTBEAT_SECONDS * 1000,
        coordinated_jobs=[coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=cluster.hosts)],
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.host,
        num_accelerators={"GPU": len(tf.config.get_visible_devices("GPU"))},
        rpc_layer="grpc",
    )
    line = (
        f"error: all {cluster.hosts} hosts must come within {minutes:g} minutes (--host-minutes). "
        f"Received: not all of {', '.join(cluster.addresses)}; this is host {cluster.host}"
    )
    with _deadline(minutes * 60, line):
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
        # The first collective operation: a host may come this far, and no further.
        _share(strategy, cluster.hosts, 0.0)
    return strategy


@contextlib.contextmanager
def _deadline(seconds: float, line: str) -> Iterator[None]:
    """Ends this process with `line` and SIGUSR1 when the block takes longer.

    From outside: TensorFlow waits for its hosts without letting Python run.
    """
    program = [sys.executable, "-S", "-c", _WATCHDOG, str(os.getpid()), str(seconds), line]
    # Its input is closed when the block ends, or this process.
    with subprocess.Popen(program, stdin=subprocess.PIPE):  # noqa: S603  # our own Python
        yield


def _share(strategy: tf.distribute.Strategy, hosts: int, value: float) -> list[float]:
    """Waits for all hosts and returns each one's value, the chief's first."""
    if hosts == 1:
        return [value]
    local = strategy.num_replicas_in_sync // hosts

    def own_place(replica: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        host, device = divmod(replica.replica_id_in_sync_group, local)
        values = np.zeros(hosts)
        values[host] = value if device == 0 else 0.0
        return tf.constant(values)

    values = strategy.experimental_distribute_values_from_function(own_place)
    shared: list[float] = _collector(strategy)(values).numpy().tolist()
    return shared


@lru_cache
def _collector(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that sums values over all replicas, traced once."""

    @tf.function
    def collect(values: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    collector: Callable[[tf.Tensor], tf.Tensor] = collect
    return collector
