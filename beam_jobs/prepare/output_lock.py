"""Whose the output directory is: one run at a time, and only a run that would make the same bytes goes on with it."""

import contextlib
import importlib.metadata
import json
import re
from collections.abc import Iterator
from typing import Any

from filelock import FileLock, Timeout

from beam_jobs import filesystem
from beam_jobs.prepare.plan import Plan
from tfrecords._version import __version__
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, MANIFEST, Manifest
from tfrecords.errors import UserError

REJECTED_MANIFEST = "manifest.rejected.json"
"""What the manifest is called when too many pictures were rejected: the directory is no dataset then."""
_RUN = "run.json"
_LOCK = "lock"
_SHARD = re.compile(r"[a-z][a-z0-9_]*-[a-z][a-z0-9_]*\.(tfrecord|idx)-\d{5}-of-\d{5}")
_BESIDE = (MANIFEST, REJECTED_MANIFEST, ANNOTATIONS, DEAD_LETTERS, "features.json", "dataset_info.json")
_PACKAGES = (
    "apache-beam",
    "h5py",
    "imagecodecs",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
)


def versions() -> dict[str, str]:
    """Returns the versions of all that has a part in a dataset's bytes."""
    return {"streetdigits": __version__, **{name: importlib.metadata.version(name) for name in _PACKAGES}}


@contextlib.contextmanager
def claim(plan: Plan, overwrite: bool) -> Iterator[bool]:
    """Makes the output this run's while the block runs; yields True where the dataset stands there already, whole.

    What an earlier run left of the same dataset is kept, anything of another is deleted, if
    `overwrite` allows. Where the output is not local nothing can hold off a second run.

    Raises:
      UserError: another run writes there, or another dataset stands there and is not to be overwritten.
    """
    filesystem.check_file_system(plan.output)
    filesystem.make_folder(plan.output)
    with _lock(plan):
        whole = not overwrite and _is_whole(plan)
        if not whole:
            _take_over(plan, overwrite)
        yield whole
        # Not after an error: the next run goes on from what is there.
        filesystem.delete_folder(plan.work)


@contextlib.contextmanager
def _lock(plan: Plan) -> Iterator[None]:
    if not filesystem.is_local(plan.output):
        yield
        return
    filesystem.make_folder(plan.work)
    try:
        with FileLock(filesystem.join(plan.work, _LOCK), timeout=0):
            try:
                yield
            finally:
                # A run that was refused, or is done, leaves nothing behind.
                if filesystem.list_names(plan.work) == [_LOCK] and not filesystem.list_folders(plan.work):
                    filesystem.delete_folder(plan.work)
    except Timeout as error:
        rule = "Another run is writing there: wait for its end, or give another --output."
        raise UserError(rule, plan.output) from error


def _is_whole(plan: Plan) -> bool:
    """True where the output is the planned dataset.

    Raises:
      UserError: it is another one.
    """
    if not filesystem.exists(plan.path(MANIFEST)):
        return False
    manifest = Manifest.parse(filesystem.read_bytes(plan.path(MANIFEST)), plan.output)
    there = {"config": manifest.config, "sources": {s.subset: s.annotations_sha256 for s in manifest.sources}}
    _refuse_another(plan, there, "a dataset")
    return True


def _take_over(plan: Plan, overwrite: bool) -> None:
    """Leaves in the output only what a run of the same plan left unfinished."""
    run = filesystem.join(plan.work, _RUN)
    ours = _describe(plan)
    if filesystem.exists(run) and not filesystem.exists(plan.path(MANIFEST)):
        left = json.loads(filesystem.read_bytes(run))
        if left == ours:
            _clear_scratch(plan)
            return
        if not overwrite:
            _refuse_another(plan, left, "an unfinished dataset")
    stale = [name for name in filesystem.list_names(plan.output) if _SHARD.fullmatch(name)]
    if stale and not overwrite and not filesystem.exists(plan.path(REJECTED_MANIFEST)):
        rule = f"{plan.output} holds shards without a manifest: give --overwrite to delete them, or another --output."
        raise UserError(rule, stale[0])
    # run.json first: with it gone, whoever comes after a kill in here starts from nothing.
    filesystem.delete([run, *(plan.path(name) for name in (*_BESIDE, *stale))])
    _clear_scratch(plan)
    filesystem.delete_folder(plan.results)
    filesystem.make_folder(plan.results)
    filesystem.publish(run, [json.dumps(ours, indent=1).encode()], plan.scratch)


def _clear_scratch(plan: Plan) -> None:
    """Deletes the scratch folders of dead runs, and makes this run's."""
    if filesystem.is_local(plan.output):
        for name in filesystem.list_folders(plan.work):
            if name.startswith("run-"):
                filesystem.delete_folder(filesystem.join(plan.work, name))
    filesystem.make_folder(plan.scratch)


def _describe(plan: Plan) -> dict[str, Any]:
    """Returns what decides the dataset's bytes, as JSON holds it."""
    sources = {subset.name: subset.annotations_sha256 for subset in plan.subsets}
    described = {"config": plan.config.to_dict(), "sources": sources, "versions": versions()}
    same: dict[str, Any] = json.loads(json.dumps(described))
    return same


def _refuse_another(plan: Plan, there: dict[str, Any], what: str) -> None:
    """Raises:
    UserError: what stands in the output was not made as this run would make it.
    """
    ours = _flat(_describe(plan))
    theirs = _flat(there)
    names = sorted(name for name in {**ours, **theirs} if name.split(".")[0] in there)
    other = [
        f"{name.removeprefix('config.')} {theirs.get(name)}, now {ours.get(name)}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    if other:
        rule = f"{plan.output} holds {what} made otherwise: give --overwrite to replace it, or another --output."
        raise UserError(rule, "; ".join(other))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested values under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
