"""Exclusive use of the output directory, and resumption only of a run that would write the same bytes."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beam_jobs import filesystem
from beam_jobs.file_lock import lock_folder
from beam_jobs.prepare.plan import Plan
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, MANIFEST, Manifest
from tfrecords.errors import UserError
from tfrecords.nested import flatten
from tfrecords.record.schema import SCHEMA_VERSION
from tfrecords.typed_json import parse_object

REJECTED_MANIFEST = "manifest.rejected.json"
"""Name of the manifest if too many pictures were rejected: the directory is no dataset then."""
_RUN = "run.json"
_SCRATCH_PREFIX = "run-"
_SHARD = re.compile(r"[a-z][a-z0-9_]*-[a-z][a-z0-9_]*\.(tfrecord|idx)-\d{5}-of-\d{5}")
_OTHER_FILES = (MANIFEST, REJECTED_MANIFEST, ANNOTATIONS, DEAD_LETTERS, "features.json", "dataset_info.json")


@contextlib.contextmanager
def lock_output(plan: Plan, overwrite: bool) -> Iterator[bool]:
    """Locks the output while the block runs; yields whether it holds the planned dataset, complete.

    Files of an interrupted run of the same plan are kept. Files of any other dataset are deleted if `overwrite`
    allows it. An output that is not local cannot be locked.

    Args:
      plan: Plan of the job.
      overwrite: Whether to replace a dataset of another plan, and a complete one of this plan.

    Raises:
      UserError: Another run is writing there, the output holds another dataset and `overwrite` is not set, or it holds
        files of another purpose.
    """
    filesystem.check_file_system(plan.output)
    filesystem.make_folder(plan.output, lasting=True)
    _check_purpose(plan)
    with _lock(plan):
        complete = not overwrite and _is_complete(plan)
        if not complete:
            _start_or_resume(plan, overwrite)
        yield complete
        # Not after an error: the next run resumes from these files.
        filesystem.delete_folder(plan.work)


def _check_purpose(plan: Plan) -> None:
    """Checks that a local output is for a dataset: new, empty, or with a dataset of an earlier run in it.

    Raises:
      UserError: It holds files of another purpose, as pictures or a trained model.
    """
    if not filesystem.is_local(plan.output) or _holds_dataset(plan):
        return
    foreign = [
        name
        for name in sorted(os.listdir(plan.output))  # noqa: PTH208
        if not (name.startswith(".") or name in (*_OTHER_FILES, "lost+found") or _SHARD.fullmatch(name))
    ]
    if foreign:
        rule = f"{plan.output} must be a new or empty folder, or hold a dataset of prepare: give another --output."
        more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
        raise UserError(rule, f"{foreign[0]}{more}")


def _holds_dataset(plan: Plan) -> bool:
    """Returns whether the output holds a dataset, a rejected one, or an unfinished one."""
    if any(filesystem.exists(path) for path in (plan.path(REJECTED_MANIFEST), filesystem.join(plan.work, _RUN))):
        return True
    try:
        Manifest.parse(filesystem.read_bytes(plan.path(MANIFEST)), plan.output)
    except (OSError, UserError):
        return False
    return True


@contextlib.contextmanager
def _lock(plan: Plan) -> Iterator[None]:
    if not filesystem.is_local(plan.output):
        yield
        return
    filesystem.make_folder(plan.work)
    rule = "Another run is writing there: wait until it has finished, or give another --output."
    try:
        with lock_folder(Path(plan.work), UserError(rule, plan.output)):
            yield
    finally:
        # Empty after a run that was refused.
        with contextlib.suppress(OSError):
            Path(plan.work).rmdir()


def _is_complete(plan: Plan) -> bool:
    """Returns whether the output holds the planned dataset.

    Raises:
      UserError: It holds another dataset.
    """
    if not filesystem.exists(plan.path(MANIFEST)):
        return False
    manifest = Manifest.parse(filesystem.read_bytes(plan.path(MANIFEST)), plan.path(MANIFEST))
    if manifest.schema_version != SCHEMA_VERSION:
        rule = (
            f"{plan.output} holds a dataset of an older version, and prepare writes schema version {SCHEMA_VERSION}: "
            "give --overwrite to replace it, or another --output."
        )
        raise UserError(rule, f"schema version {manifest.schema_version}")
    found = {"config": manifest.config, "sources": {s.subset: s.annotations_sha256 for s in manifest.sources}}
    _refuse_other(plan, found, "a dataset")
    return True


def _start_or_resume(plan: Plan, overwrite: bool) -> None:
    """Deletes everything from the output except the files of an interrupted run of the same plan.

    Raises:
      UserError: There are files of another dataset and `overwrite` is not set.
    """
    run = filesystem.join(plan.work, _RUN)
    ours = _describe(plan)
    if filesystem.exists(run) and not filesystem.exists(plan.path(MANIFEST)):
        interrupted = _read_description(run)
        if interrupted == ours:
            _clear_scratch(plan)
            return
        if not overwrite and interrupted is not None:
            _refuse_other(plan, interrupted, "an unfinished dataset")
    shards = [name for name in filesystem.list_names(plan.output) if _SHARD.fullmatch(name)]
    if shards and not overwrite and not filesystem.exists(plan.path(REJECTED_MANIFEST)):
        rule = f"{plan.output} holds shards without a manifest: give --overwrite to delete them, or another --output."
        raise UserError(rule, shards[0])
    # run.json first: without it, the run after a kill in here starts from the beginning.
    filesystem.delete([run, *(plan.path(name) for name in _OTHER_FILES)])
    # No power cut may leave a manifest that names deleted shards.
    filesystem.sync_names(plan.output)
    filesystem.delete([plan.path(name) for name in shards])
    _clear_scratch(plan)
    filesystem.delete_folder(plan.results)
    filesystem.make_folder(plan.results)
    filesystem.publish(run, [json.dumps(ours, indent=1).encode()], plan.scratch)
    filesystem.sync_names(plan.work)


def _clear_scratch(plan: Plan) -> None:
    """Deletes the scratch folders of earlier runs and creates the one of this run."""
    if filesystem.is_local(plan.output):
        for name in filesystem.list_folders(plan.work):
            if name.startswith(_SCRATCH_PREFIX):
                filesystem.delete_folder(filesystem.join(plan.work, name))
    filesystem.make_folder(plan.scratch)


def _describe(plan: Plan) -> dict[str, Any]:
    """Returns everything that decides the dataset's bytes, with the types that JSON gives back."""
    sources = {subset.name: subset.annotations_sha256 for subset in plan.subsets}
    described = {"config": plan.config.to_dict(), "sources": sources, "versions": plan.versions}
    as_read: dict[str, Any] = json.loads(json.dumps(described))
    return as_read


def _read_description(run: str) -> dict[str, Any] | None:
    """Returns the description of an interrupted run, or None if it is damaged: then nothing of that run is known."""
    try:
        return parse_object(filesystem.read_bytes(run), run)
    except UserError:
        return None


def _refuse_other(plan: Plan, found: dict[str, Any], what: str) -> None:
    """Compares a description found in the output with the plan's.

    Raises:
      UserError: They differ.
    """
    ours, theirs = flatten(_describe(plan)), flatten(found)
    names = sorted(name for name in {**ours, **theirs} if name.split(".")[0] in found)
    differences = [
        f"{name.removeprefix('config.')} {theirs.get(name)}, now {ours.get(name)}"
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    if differences:
        rule = f"{plan.output} holds {what} with other settings: give --overwrite to replace it, or another --output."
        raise UserError(rule, "; ".join(differences))
