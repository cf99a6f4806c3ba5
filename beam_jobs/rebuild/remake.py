"""The plan that makes a dataset again: settings of its manifest, subsets of the pictures that are given."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from beam_jobs.job.given import GivenData, find_subsets
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.fixes import NONE, Fixes
from beam_jobs.prepare.plan import Plan, make_plan
from beam_jobs.rebuild.original import Original
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Subset, check_subset_names
from beam_jobs.watch.stream import Stream, flat_settings
from tfrecords.cards.facts import load_about
from tfrecords.dataset.manifest import Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.nested import flatten
from tfrecords.typed_json import from_json

_NESTED = ("crop", "options")
_SUBSETS = "subsets"


def config_of(original: Original) -> PrepareConfig:
    """Returns the configuration in a manifest.

    Raises:
      UserError: A setting, or the source, is not known to this version, or has a value that it does not allow.
    """
    saved, defaults = original.manifest.config, asdict(PrepareConfig())
    values = {**defaults, **saved}
    for name in _NESTED:
        # Settings that are not set are not in the manifest.
        values[name] = {**defaults[name], **saved[name]} if isinstance(saved.get(name), dict) else values[name]
    if unknown := sorted(set(flatten(values)) - set(flatten(defaults))):
        made = original.manifest.versions.get("streetdigits", "an unknown version")
        rule = f"{original.name} was made with streetdigits {made}, and this version lacks a setting of it: upgrade."
        raise UserError(rule, ", ".join(unknown))
    config = from_json(PrepareConfig, values, f"{original.name}: config")
    load_source(config.source)
    return config


def subset_names(manifest: Manifest) -> str | None:
    """Returns the names of the subsets that were read, as `--subsets` takes them; None where it cannot name them.

    A folder may have a name that can be found, and not be asked for, as `my photos`.
    """
    names = tuple(source.subset for source in manifest.sources)
    try:
        check_subset_names(names)
    except UserError:
        return None
    return ",".join(names)


def refuse_others(given: Mapping[str, Any], original: Original, config: PrepareConfig) -> None:
    """Checks that flags that decide bytes have the values of the manifest, if they were given at all.

    Args:
      given: Values of the flags that were given, by the name of the setting.
      original: Dataset that is to be made again.
      config: Its configuration.

    Raises:
      UserError: One has another value.
    """
    settings = {**flat_settings(config), "source": config.source}
    if original.stream is None:
        settings[_SUBSETS] = subset_names(original.manifest) or ""
    for name in (each for each in settings if each in given):
        same = given[name] == settings[name]
        if name == _SUBSETS:
            same = sorted(given[name].split(",")) == sorted(settings[name].split(","))
        if not same:
            flag = f"--{name.replace('_', '-')}"
            rule = (
                f"{flag} is taken from the manifest of {original.name}, which has {settings[name]}: leave it out. "
                "python -m beam_jobs prepare makes datasets of other settings."
            )
            raise UserError(rule, given[name])


def plan_remake(
    original: Original, data: GivenData, output: Place, allow_other_versions: bool, fixes: Fixes = NONE
) -> Plan:
    """Returns the plan that makes a dataset again.

    Args:
      original: Dataset.
      data: Pictures to read.
      output: Place of the new dataset directory.
      allow_other_versions: Whether workers may have other versions than this process.
      fixes: Corrections that the dataset was made with.

    Raises:
      UserError: The input cannot be read, or lacks a subset or a batch; a setting is not known; or the dataset was made
        with other corrections.
    """
    if original.stream is None:
        config = config_of(original)
        if (config.fixes_sha256 or "") != fixes.sha256:
            rule = f"was made with a list of fixes: give --fix, a list of the digest {config.fixes_sha256}"
            rule = rule if config.fixes_sha256 else "was made without a list of fixes: leave out --fix"
            raise UserError(f"{original.name} {rule}.", fixes.sha256 or "no --fix")
        subsets = find_subsets(data, config.reading)
        wanted = {source.subset for source in original.manifest.sources}
        found = {subset.name for subset in subsets}
        if wanted != found:
            raise UserError(f"--input must have the subsets {', '.join(sorted(wanted))}.", ", ".join(sorted(found)))
        # What the owner states is next to the manifest, and in no shard.
        about = load_about(original.place) if original.place else None
        return make_plan(config, subsets, output, allow_other_versions, about, fixes)
    from beam_jobs.watch.generation import plan_subsets

    subsets = _find_batches(original.stream, original.manifest, Place(data.input))
    return replace(plan_subsets(original.stream, subsets, output), allow_other_versions=allow_other_versions)


def _find_batches(stream: Stream, manifest: Manifest, inbox: Place) -> tuple[Subset, ...]:
    """Returns the subsets of the batches of a generation, named as `watch` does.

    Raises:
      UserError: A batch is not in the inbox, cannot be read, or lacks a subset.
    """
    from beam_jobs.watch.inboxes.identity import list_files
    from beam_jobs.watch.inboxes.readiness import look_into
    from beam_jobs.watch.inboxes.top import list_top

    names = [source.subset for source in manifest.sources]
    files = {each.batch: each.file for each in sorted(list_top(inbox, True, {}, (), ()), reverse=True)}
    found: dict[str, Subset] = {}
    for batch in dict.fromkeys(name.partition("@")[0] for name in names):
        if batch not in files:
            rule = (
                f"{inbox} must hold all batches of the stream: watch --after archive:DIR has moved them to DIR. "
                "Generations of messages (lines://, kafka://) cannot be made again from a folder."
            )
            raise UserError(rule, f"no batch {batch}")
        place = inbox / files[batch]
        look = look_into(batch, place, list_files(place), stream.config, complete=False)
        found |= {subset.name: subset for subset in look.batch.subsets}
    if missing := [name for name in names if name not in found]:
        raise UserError(f"{inbox} must hold the subset {missing[0]} of its batch.", ", ".join(found))
    return tuple(found[name] for name in names)
