"""Hosts that train together, read from TF_CONFIG as Kubernetes' training operator and Vertex AI set it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfrecords.errors import UserError

TF_CONFIG = "TF_CONFIG"
_TYPES = ("chief", "worker")
"""Task types that train, the chief first."""


@dataclass(frozen=True)
class Cluster:
    """Hosts that share a run.

    Attributes:
      addresses: Addresses host:port of all hosts that train, the chief first.
      host: Index of this host in `addresses`.
    """

    addresses: tuple[str, ...] = ("localhost",)
    host: int = 0

    @property
    def hosts(self) -> int:
        """Number of hosts."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this host writes to the run directory."""
        return self.host == 0

    def __str__(self) -> str:
        """Returns what this host is, for a line that is printed when all hosts have joined."""
        place = f"host {self.host + 1} of {self.hosts} ({self.addresses[self.host]})"
        if self.is_chief:
            return f"{place}, the chief: scores, and writes the run"
        return f"{place}: joined the chief {self.addresses[0]}, which scores and writes the run"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Cluster":
        """Returns the cluster that TF_CONFIG describes, or a single host without TF_CONFIG.

        Args:
          environment: Environment variables.

        Raises:
          UserError: TF_CONFIG is invalid, or makes this host an evaluator.
        """
        text = environment.get(TF_CONFIG, "").strip()
        if not text:
            return cls()
        try:
            content = json.loads(text)
        except ValueError as error:
            raise UserError(f"{TF_CONFIG} must be JSON ({error}).", text) from error
        if not isinstance(content, dict):
            raise UserError(f"{TF_CONFIG} must be a JSON object.", text)
        if not content.get("cluster"):
            return cls()
        jobs = _jobs(content["cluster"])
        kind, index = _task(content.get("task"), jobs)
        trains = [name for name in _TYPES if name in jobs]
        before = sum(len(jobs[name]) for name in trains[: trains.index(kind)])
        return cls(tuple(address for name in trains for address in jobs[name]), before + index)


def _jobs(cluster: Any) -> dict[str, list[str]]:
    """Returns the addresses of each task type, checked."""
    is_valid = isinstance(cluster, dict) and all(
        isinstance(part, list) and part and all(isinstance(address, str) and ":" in address for address in part)
        for part in cluster.values()
    )
    if not is_valid:
        raise UserError(f'{TF_CONFIG}: "cluster" must list the addresses HOST:PORT of each task type.', cluster)
    if unknown := set(cluster) - {*_TYPES, "evaluator"}:
        rule = f"{TF_CONFIG}: the task types may be chief, worker and evaluator; there are no parameter servers here."
        raise UserError(rule, ", ".join(sorted(unknown)))
    if len(cluster.get("chief", [])) > 1:
        raise UserError(f"{TF_CONFIG}: there must be one chief.", cluster["chief"])
    checked: dict[str, list[str]] = cluster
    return checked


def _task(task: Any, jobs: dict[str, list[str]]) -> tuple[str, int]:
    """Returns this host's task type and its index among the tasks of this type, checked."""
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        raise UserError(f'{TF_CONFIG}: "task" must have a type and an index.', task)
    kind, index = task["type"], task["index"]
    if kind == "evaluator":
        raise UserError(f"{TF_CONFIG}: an evaluator has nothing to do, because the chief validates.", task)
    if kind not in jobs:
        raise UserError(f"{TF_CONFIG}: the task's type must be one of the cluster's: {', '.join(jobs)}.", kind)
    # Some launchers write the index as text.
    position = int(index) if isinstance(index, int) or (isinstance(index, str) and index.isdecimal()) else -1
    if not 0 <= position < len(jobs[kind]):
        raise UserError(f"{TF_CONFIG}: the index of a {kind} must be 0 to {len(jobs[kind]) - 1}.", index)
    return kind, position
