"""Exclusive use of the output directory, and resumption only of a run that would write the same bytes."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from beam_jobs import filesystem
from beam_jobs.file_lock import lock_folder
from beam_jobs.prepare import claim
from beam_jobs.prepare.plan import RESULT_SUFFIX, WORK, Plan
from tfrecords.cards.croissant import CROISSANT
from tfrecords.cards.facts import ABOUT
from tfrecords.cards.files import is_own_card
from tfrecords.cards.readme import README
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS, MANIFEST, Manifest
from tfrecords.dataset.snapshots import STREAM
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.files.storage import read_bytes
from tfrecords.nested import flatten
from tfrecords.record.schema import SCHEMA_VERSION
from tfrecords.typed_json import parse_object

REJECTED_MANIFEST = "manifest.rejected.json"
"""Name of the manifest if too many pictures were rejected: the directory is no dataset then."""
_RUN = "run.json"
_SCRATCH_PREFIX = "run-"
_SHARD = re.compile(r"[a-z][a-z0-9_]*-[a-z][a-z0-9_]*\.(tfrecord|idx)-\d{5}-of-\d{5}")
_OTHER_FILES = (
    MANIFEST,
    REJECTED_MANIFEST,
    ANNOTATIONS,
    DEAD_LETTERS,
    "features.json",
    "dataset_info.json",
    CROISSANT,
    ABOUT,
)


def check_output(output: Place) -> None:
    """Checks that an output is for a dataset, before its plan is made: new, empty, or with a dataset of an earlier run.

    Raises:
      UserError: It holds files of another purpose, as pictures or a trained model; it is a file; or its place cannot
        be read, as for want of a package, a bucket or rights.
    """
    output.refuse_web()
    names = filesystem.list_names(output)
    if STREAM in names:
        raise UserError(f"{output} must be a dataset of prepare or a new folder: give another --output.", "a stream")
    if _holds_dataset(output, names):
        return
    own = [*_OTHER_FILES, "lost+found", *([README] if README in names and is_own_card(output) else [])]
    foreign = [name for name in names if not (name.startswith(".") or name in own or _SHARD.fullmatch(name))]
    if foreign:
        rule = f"{output} must be a new or empty folder, or hold a dataset of prepare: give another --output."
        more = f" and {len(foreign) - 1:,} more" if len(foreign) > 1 else ""
        raise UserError(rule, f"{foreign[0]}{more}")


def _holds_dataset(output: Place, names: list[str]) -> bool:
    """Returns whether an output with entries of these names holds a dataset, a rejected one, or an unfinished one."""
    if REJECTED_MANIFEST in names or (WORK in names and (output / WORK / _RUN).exists()):
        return True
    if MANIFEST not in names:
        return False
    try:
        Manifest.parse((output / MANIFEST).read_bytes(), str(output))
    except (OSError, UserError):
        return False
    return True


@contextlib.contextmanager
def lock_output(plan: Plan, overwrite: bool) -> Iterator[bool]:
    """Locks the output while the block runs; yields whether it holds the planned dataset, complete.

    Files of an interrupted run of the same plan are kept. Files of any other dataset are deleted if `overwrite`
    allows it. A local output is locked by the operating system, one in a store by a claim.

    Args:
      plan: Plan of the job.
      overwrite: Whether to replace a dataset of another plan, and a complete one of this plan.

    Raises:
      UserError: Another run is writing there, the output holds another dataset and `overwrite` is not set, it holds
        files of another purpose, or its place cannot be written.
    """
    filesystem.make_folder(plan.output, lasting=True)
    check_output(plan.output)
    with _lock(plan):
        names = filesystem.list_names(plan.output)
        complete = not overwrite and _is_complete(plan, names)
        if not complete:
            _start_or_resume(plan, overwrite, names)
        yield complete
        # Not after an error: the next run resumes from these files.
        if plan.output.is_remote:
            # All but the claim, which goes last; nothing of a run that has taken the output over.
            claim.check(plan.claim, plan.run_id)
            (plan.work / _RUN).delete()
            plan.results.delete_folder()
        else:
            plan.work.delete_folder()


@contextlib.contextmanager
def _lock(plan: Plan) -> Iterator[None]:
    if plan.output.is_remote:
        with claim.claimed(plan.claim, plan.run_id, str(plan.output)):
            yield
        return
    filesystem.make_folder(plan.work)
    rule = "Another run is writing there: wait until it has finished, or give another --output."
    try:
        with lock_folder(plan.work.path, UserError(rule, plan.output)):
            yield
    finally:
        # Empty after a run that was refused.
        with contextlib.suppress(OSError):
            plan.work.path.rmdir()


def _is_complete(plan: Plan, names: list[str]) -> bool:
    """Returns whether the output, with entries of these names, holds the planned dataset.

    Raises:
      UserError: It holds another dataset.
    """
    if MANIFEST not in names:
        return False
    manifest = Manifest.parse(plan.path(MANIFEST).read_bytes(), str(plan.path(MANIFEST)))
    if manifest.schema_version != SCHEMA_VERSION:
        rule = (
            f"{plan.output} holds a dataset of an older version, and prepare writes schema version {SCHEMA_VERSION}: "
            "give --overwrite to replace it, or another --output."
        )
        raise UserError(rule, f"schema version {manifest.schema_version}")
    found = {"config": manifest.config, "sources": {s.subset: s.annotations_sha256 for s in manifest.sources}}
    _refuse_other(plan, found, "a dataset")
    return True


def lock_unnamed(plan: Plan) -> contextlib.AbstractContextManager[bool]:
    """Locks an output that no snapshot names yet, as `lock_output` does; what is not of this plan is replaced.

    Args:
      plan: Plan of the job.

    Raises:
      UserError: Another run is writing there, the output holds files of another purpose, or its place cannot be
        written.
    """
    return lock_output(plan, overwrite=not _is_made(plan))


def _is_made(plan: Plan) -> bool:
    """Returns whether the output holds the planned dataset, complete and made with the plan's versions."""
    data = read_bytes(plan.path(MANIFEST))
    try:
        manifest = Manifest.parse(data, str(plan.path(MANIFEST))) if data is not None else None
    except UserError:
        return False
    if manifest is None:
        return False
    sources = {source.subset: source.annotations_sha256 for source in manifest.sources}
    return _describe(plan) == {"config": manifest.config, "sources": sources, "versions": manifest.versions}


def preview_output(plan: Plan, overwrite: bool) -> str:
    """Returns what a job would find in its output, and do with it, in words; nothing is written or locked.

    Args:
      plan: Plan of the job.
      overwrite: Whether the job may replace a dataset.

    Raises:
      UserError: The job would refuse the output.
    """
    names = filesystem.list_names(plan.output)
    if not overwrite and _is_complete(plan, names):
        return "this dataset is complete, and would be kept"
    if _resumes(plan, overwrite, names):
        complete = sum(name.endswith(RESULT_SUFFIX) for name in filesystem.list_names(plan.results))
        return f"an unfinished run of this dataset would be resumed, {complete:,} of {len(plan.shard_keys):,} shards"
    return "a dataset, which would be replaced" if MANIFEST in names else "no dataset yet"


def _resumes(plan: Plan, overwrite: bool, names: list[str]) -> bool:
    """Returns whether the output, with entries of these names, holds an interrupted run of the same plan.

    Raises:
      UserError: There are files of another dataset and `overwrite` is not set.
    """
    run = plan.work / _RUN
    if MANIFEST not in names and run.exists():
        interrupted = _read_description(run)
        if interrupted == _describe(plan):
            return True
        if not overwrite and interrupted is not None:
            _refuse_other(plan, interrupted, "an unfinished dataset")
    shards = [name for name in names if _SHARD.fullmatch(name)]
    if shards and not overwrite and REJECTED_MANIFEST not in names:
        rule = f"{plan.output} holds shards without a manifest: give --overwrite to delete them, or another --output."
        raise UserError(rule, shards[0])
    return False


def _start_or_resume(plan: Plan, overwrite: bool, names: list[str]) -> None:
    """Deletes everything from the output except the files of an interrupted run of the same plan.

    Raises:
      UserError: There are files of another dataset and `overwrite` is not set.
    """
    run = plan.work / _RUN
    if _resumes(plan, overwrite, names):
        _clear_scratch(plan)
        return
    shards = [name for name in names if _SHARD.fullmatch(name)]
    # run.json first: without it, the run after a kill in here starts from the beginning.
    if run.exists():
        run.delete()
    cards = [README] if README in names and is_own_card(plan.output) else []
    plan.output.delete_names(name for name in names if name in (*_OTHER_FILES, *cards))
    # No power cut may leave a manifest that names deleted shards.
    filesystem.sync_names(plan.output)
    plan.output.delete_names(shards)
    _clear_scratch(plan)
    if plan.results.is_dir():
        plan.results.delete_folder()
    filesystem.make_folder(plan.results)
    filesystem.publish(run, [json.dumps(_describe(plan), indent=1).encode()], plan.scratch)
    filesystem.sync_names(plan.work)


def _clear_scratch(plan: Plan) -> None:
    """Deletes the unfinished files of earlier runs and creates the scratch folder of this run."""
    if plan.output.is_remote:
        plan.output.abort_uploads()
        return
    for entry in plan.work.entries():
        if entry.is_folder and entry.name.startswith(_SCRATCH_PREFIX):
            (plan.work / entry.name).delete_folder()
    filesystem.make_folder(plan.scratch)


def _describe(plan: Plan) -> dict[str, Any]:
    """Returns everything that decides the dataset's bytes, with the types that JSON gives back."""
    sources = {subset.name: subset.annotations_sha256 for subset in plan.subsets}
    described = {"config": plan.config.to_dict(), "sources": sources, "versions": plan.versions}
    as_read: dict[str, Any] = json.loads(json.dumps(described))
    return as_read


def _read_description(run: Place) -> dict[str, Any] | None:
    """Returns the description of an interrupted run, or None if it is damaged: then nothing of that run is known."""
    try:
        return parse_object(run.read_bytes(), str(run))
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
