"""Versions of the packages that decide a dataset's bytes: the launcher's, and those of workers that have others.

Neither Python's version nor the machine is among them. The locks give every Python the same versions of the packages,
except imagecodecs, which is compared. Our code uses nothing that differs between Pythons or processors, such as
`hash()` or the order of a set: golden digests of the tests hold on every Python that setup.py allows.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import socket
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from beam_jobs import filesystem
from beam_jobs.sources import load_source
from tfrecords._version import __version__
from tfrecords.errors import UserError
from tfrecords.images.formats import DECODERS
from tfrecords.typed_json import parse_object

if TYPE_CHECKING:
    from beam_jobs.prepare.plan import Plan
    from tfrecords.dataset.manifest import WorkerVersions

_PACKAGES = ("apache-beam", "imagecodecs", "numpy", "opencv-python-headless", "pillow", "pyarrow")
_NONE = "none"
"""Version of a package that is not installed."""
_RECORD_PREFIX = "versions-"
_CHECKED: dict[str, dict[str, str]] = {}
"""What `check_worker` found in this process, by the id of the run."""
_KEPT_CHECKS = 64
"""Number of runs of which it is kept."""


def versions(source: str) -> dict[str, str]:
    """Returns the versions of all packages that decide the bytes of a dataset of this source."""
    found = {name: _version(name) for name in {*_PACKAGES, *load_source(source).packages}}
    found |= {name: version for name in DECODERS if (version := _version(name)) != _NONE}
    return {"streetdigits": __version__, **dict(sorted(found.items()))}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return _NONE


def check_worker(plan: Plan) -> dict[str, str]:
    """Compares the versions of this process with the launcher's, once per process and run.

    Returns:
      All versions of this process if some are not the launcher's and the plan allows it, else nothing.

    Raises:
      UserError: Some are not the launcher's, and the plan does not allow it.
    """
    found = _CHECKED.get(plan.run_id)
    if found is None:
        ours = versions(plan.config.source)
        if lines := _differences(ours, plan.versions):
            if not plan.allow_other_versions:
                # The launcher cancels a cluster's job at the first line that begins so.
                has = f"worker {socket.gethostname()} has {'; '.join(lines)}"
                raise UserError(f"{has}: these decide a dataset's bytes (--allow-other-versions accepts them)")
            # For workers that only parse annotations. A shard's result names the versions that wrote it.
            data = json.dumps(ours, indent=1).encode()
            name = f"{_RECORD_PREFIX}{hashlib.sha256(data).hexdigest()[:16]}.json"
            filesystem.publish(plan.results / name, [data], plan.scratch)
        found = ours if lines else {}
        # A process may work for thousands of runs, one after the other, in several threads.
        for old in list(_CHECKED)[:-_KEPT_CHECKS]:
            _CHECKED.pop(old, None)
        _CHECKED[plan.run_id] = found
    return found


def note_of_others(made: dict[str, str], plan: Plan) -> str | None:
    """Returns the line about a complete dataset that other versions made than a plan's, or None.

    Args:
      made: Versions in its manifest.
      plan: Plan of the job that keeps it.
    """
    names = [name for name in {**made, **plan.versions} if made.get(name, _NONE) != plan.versions.get(name, _NONE)]
    if not names:
        return None
    lines = [f"{name} {made.get(name, _NONE)}, now {plan.versions.get(name, _NONE)}" for name in names]
    return f"it was made with {'; '.join(lines)}: --overwrite makes it again"


def _differences(ours: dict[str, str], launcher: dict[str, str]) -> list[str]:
    """Returns what differs, as `numpy 2.1.0, the launcher 2.2.0`."""
    return [
        f"{name} {ours.get(name, _NONE)}, the launcher {launcher.get(name, _NONE)}"
        for name in {**launcher, **ours}
        if ours.get(name, _NONE) != launcher.get(name, _NONE)
    ]


def worker_versions(plan: Plan, of_shards: Iterable[dict[str, str]]) -> list[WorkerVersions]:
    """Returns the versions of all workers that have others than the launcher, in a fixed order.

    Args:
      plan: Plan of the job.
      of_shards: For each shard, the versions that wrote it, or nothing for the launcher's.

    Raises:
      UserError: A file that a worker wrote is damaged.
    """
    from tfrecords.dataset.manifest import WorkerVersions

    shards = Counter(tuple(found.items()) for found in of_shards if found)
    if plan.allow_other_versions:
        for name in filesystem.list_names(plan.results):
            if name.startswith(_RECORD_PREFIX):
                place = plan.results / name
                with contextlib.suppress(FileNotFoundError):
                    shards[tuple(parse_object(place.read_bytes(), str(place)).items())] += 0
    return [WorkerVersions(dict(found), count) for found, count in sorted(shards.items())]
