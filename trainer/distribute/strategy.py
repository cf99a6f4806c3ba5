"""Devices that share a training step, on this host or on several."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context

from tfrecords.errors import UserError
from trainer.distribute.cluster import Cluster

HEARTBEAT_SECONDS = 10
"""Seconds without a sign of life after which a host counts as lost. The others notice 5 to 10 s after it is killed."""
HOST_LOST = 138
"""Exit code of a run that lost a host: the code of a process ended by SIGUSR1, which Kubeflow retries."""

# Waits for its input to end, which means success. At the deadline it prints a line and ends its parent.
_WATCHDOG = """
import os, select, signal, sys
parent, seconds, line = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if not select.select([sys.stdin], [], [], seconds)[0]:
    print(line, file=sys.stderr, flush=True)
    os.kill(parent, signal.SIGUSR1)
"""


@dataclass(frozen=True)
class Devices:
    """Devices that train together, on all hosts.

    Attributes:
      cluster: Hosts, this one among them.
      strategy: Strategy over the devices of all hosts.
    """

    cluster: Cluster
    strategy: tf.distribute.Strategy

    def gather(self, value: float) -> list[float]:
        """Waits for all hosts and returns the value of each, the chief's first."""
        return _gather(self.strategy, self.cluster.hosts, value)


def make_strategy(cluster: Cluster, device: str, minutes: float) -> tf.distribute.Strategy:
    """Returns the strategy over all devices, after all hosts have joined.

    Call it before anything else initialises TensorFlow.

    Args:
      cluster: Hosts, this one among them.
      device: Kind of device: auto, cpu or gpu. auto uses GPUs where there are any.
      minutes: Minutes to wait for all hosts to join. After them the process prints an error and exits with `HOST_LOST`.

    Raises:
      UserError: A GPU was requested and there is none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError("--device gpu needs a GPU that TensorFlow can use; auto uses what there is.", "no GPU")
    if device == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    if cluster.hosts > 1:
        return _multi_worker(cluster, minutes)
    kind = "GPU" if gpus and device != "cpu" else "CPU"
    names = [logical.name for logical in tf.config.list_logical_devices(kind)]
    if len(names) == 1:
        return tf.distribute.OneDeviceStrategy(names[0])
    # On CPUs the collective operations of two strategies in one process interfere with each other (2.21).
    reduction = None if kind == "GPU" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(names, cross_device_ops=reduction)


def _multi_worker(cluster: Cluster, minutes: float) -> tf.distribute.Strategy:
    """Returns a MultiWorkerMirroredStrategy over hosts that are all workers; the first one is the chief."""
    # The strategy would configure this itself, with longer timeouts. There is no public API for it (2.21).
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
        f"error: all {cluster.hosts} hosts must join within {minutes:g} minutes (--host-minutes). "
        f"Received: not all of {', '.join(cluster.addresses)}; this is host {cluster.host}"
    )
    with _deadline(minutes * 60, line):
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
        # The first collective operation is within the deadline too: a host may stop right before it.
        _gather(strategy, cluster.hosts, 0.0)
    return strategy


@contextlib.contextmanager
def _deadline(seconds: float, line: str) -> Iterator[None]:
    """Prints `line` and ends this process with SIGUSR1 if the block takes longer.

    Another process does it, because Python does not run while TensorFlow waits for its hosts.
    """
    program = [sys.executable, "-S", "-c", _WATCHDOG, str(os.getpid()), str(seconds), line]
    # Its input is closed when the block or this process ends.
    with subprocess.Popen(program, stdin=subprocess.PIPE):  # noqa: S603  # our own Python
        yield


def _gather(strategy: tf.distribute.Strategy, hosts: int, value: float) -> list[float]:
    """Waits for all hosts and returns the value of each, the chief's first."""
    if hosts == 1:
        return [value]
    local = strategy.num_replicas_in_sync // hosts

    def in_own_slot(replica: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        host, device = divmod(replica.replica_id_in_sync_group, local)
        values = np.zeros(hosts)
        values[host] = value if device == 0 else 0.0
        return tf.constant(values)

    values = strategy.experimental_distribute_values_from_function(in_own_slot)
    gathered: list[float] = _collector(strategy)(values).numpy().tolist()
    return gathered


@lru_cache
def _collector(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that sums values over all replicas, traced once."""

    def collect(values: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

    collector: Callable[[tf.Tensor], tf.Tensor] = tf.function(collect, autograph=False)
    return collector
