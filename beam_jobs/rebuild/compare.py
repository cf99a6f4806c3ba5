"""What differs between a dataset and the one that was made again: versions, settings, sources, pictures, shards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_jobs.rebuild.tables import KINDS, Changed
from tfrecords.dataset.manifest import ANNOTATIONS, Manifest, SourceInfo
from tfrecords.nested import flatten

_NONE = "none"
"""What one side lacks; the version of a package that is not installed."""
_DIGEST_LETTERS = 12
"""Letters of a SHA-256 that are shown: enough to tell two apart by eye."""
_OF_RECORDS = {
    **{"added": "new", "removed": "missing", "moved": "in another split", "relabelled": "with another number"},
    **{"recut": "cut at another place, or with other boxes", "redrawn": "with other pixels"},
    "reencoded": "in other bytes, with the same content",
}
"""Kinds of differences of records, each as what follows "3 examples' pictures"."""


@dataclass
class Comparison:
    """What differs between two datasets, each difference as a line.

    Attributes:
      versions: Packages of other versions. They explain differences, and are none themselves.
      settings: Settings of the configuration, the task and the form of the images.
      sources: Subsets that were read: annotations, pictures, counts. They explain differences too: a file of
        annotations that was saved again may have other bytes and the same content.
      shards: Shards, and the files next to them whose content decides what a reader gets.
      counts: Pictures and examples of the splits, and rejected pictures by reason.
      files: Files that describe the dataset, where both have one of the name.
      notes: What is no difference, and worth a line.
      pictures: Differences of annotations.parquet by kind; None where the first dataset's is not at hand.
      records: Differences of records by kind; None where they were not compared.
    """

    versions: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    shards: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, Changed] | None = None
    records: dict[str, Changed] | None = None

    @property
    def is_same(self) -> bool:
        """Whether every shard, the table of annotations, the settings and all counts are the same.

        A file that only describes the dataset may differ where versions do: it may name them.
        """
        described = self.files and not self.versions
        return not (self.settings or self.shards or self.counts or self.pictures or self.records or described)

    @property
    def causes(self) -> list[str]:
        """What explains that the datasets differ, in a few words each."""
        found = [f"setting {line}" for line in self.settings]
        for kind, changed in (self.pictures or {}).items():
            found.append(f"{changed.count:,} {_plural(changed.count, 'row')} {KINDS[kind]}")
        if self.pictures is None:
            found += self.sources
        if not found:
            found += [f"version of {line}" for line in self.versions]
        return found

    def lines(self, limit: int) -> list[str]:
        """Returns all differences as lines to print.

        Args:
          limit: Largest number of lines of each kind.
        """
        found = _titled("version", self.versions, limit) + _titled("setting", self.settings, limit)
        found += _titled("source", self.sources, limit)
        for kind, changed in (self.pictures or {}).items():
            found += _listed(f"picture   {changed.count:,} {_plural(changed.count, 'row')} {KINDS[kind]}", changed)
        for kind, changed in (self.records or {}).items():
            what = f"{changed.count:,} {_plural(changed.count, 'picture')} {_OF_RECORDS[kind]}"
            found += _listed(f"record    {what}", changed)
        found += _titled("shard", self.shards, limit) + _titled("count", self.counts, limit)
        return found + _titled("file", self.files, limit) + _titled("note", self.notes, limit)


def compare_manifests(before: Manifest, after: Manifest, has_table: bool) -> Comparison:
    """Returns what differs between two manifests, without pictures and records.

    Args:
      before: Manifest of the dataset.
      after: Manifest of the one that was made again.
      has_table: Whether the rows of both tables of annotations are compared too: then other bytes of the file, which
        names the version of its writer, are no difference.
    """
    found = Comparison(versions=_changes(before.versions, after.versions))
    if before.worker_versions:
        found.notes.append("workers of other versions made a part of it (worker_versions in its manifest)")
    found.settings = _changes(*(flatten(_settings(each)) for each in (before, after)))
    found.sources = _compare_sources(before, after)
    found.counts = _changes(*(_counts(each) for each in (before, after)))
    found.shards = _changes(*(_shards(each) for each in (before, after)))
    names = sorted({*before.files, *after.files})
    for name in names:
        if name not in before.files or name not in after.files:
            which = "the new one" if name in after.files else "the original"
            found.notes.append(f"{name}: only {which} has this file")
        elif (line := _changes({name: _short(before.files[name])}, {name: _short(after.files[name])})) and (
            name != ANNOTATIONS
        ):
            found.files += line
        elif line and has_table:
            found.notes.append(f"{ANNOTATIONS} has other bytes; its rows are compared")
        elif line:
            found.shards += line
    return found


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Returns a line for each name whose value differs: `numpy 2.1.0, now 2.4.6`."""
    pairs = {name: (before.get(name, _NONE), after.get(name, _NONE)) for name in {**before, **after}}
    return [f"{name} {old}, now {new}" for name, (old, new) in pairs.items() if old != new]


def _settings(manifest: Manifest) -> dict[str, Any]:
    image = {"shape": manifest.image.shape, "encoding": manifest.image.encoding}
    return {**manifest.config, "task": manifest.task, "image": image, "schema_version": manifest.schema_version}


def _counts(manifest: Manifest) -> dict[str, str]:
    splits = {name: f"{info.pictures:,} pictures {info.examples:,} examples" for name, info in manifest.splits.items()}
    return {**splits, **{f"rejected as {name}": f"{count:,}" for name, count in manifest.dead_letters.items()}}


def _shards(manifest: Manifest) -> dict[str, str]:
    shards = (shard for info in manifest.splits.values() for shard in info.shards)
    return {each.file: f"{each.examples:,} examples in {each.bytes:,} bytes, {_short(each.sha256)}" for each in shards}


def _compare_sources(before: Manifest, after: Manifest) -> list[str]:
    old, new = ({source.subset: source for source in each.sources} for each in (before, after))
    lines = []
    for name in {**old, **new}:
        if name not in old or name not in new:
            lines.append(f"{name}: only the {'new one' if name in new else 'original'} has this subset")
        else:
            lines += [f"{name}: {line}" for line in _changes(_of_source(old[name]), _of_source(new[name]))]
    return lines


def _of_source(source: SourceInfo) -> dict[str, str]:
    return {
        "annotations": _short(source.annotations_sha256),
        "pictures' files": _short(source.pictures_sha256),
        "pictures": f"{source.pictures:,}",
        "accepted": f"{source.accepted:,}",
    }


def _short(sha256: str) -> str:
    return f"SHA-256 {sha256[:_DIGEST_LETTERS]}..."


def _titled(title: str, lines: list[str], limit: int) -> list[str]:
    more = [f"and {len(lines) - limit:,} more"] if len(lines) > limit else []
    return [f"{title:<10}{line}" for line in [*lines[:limit], *more]]


def _listed(title: str, changed: Changed) -> list[str]:
    lines = [title, *(f"            {line}" for line in changed.lines)]
    if changed.count > len(changed.lines) > 0:
        lines.append(f"            and {changed.count - len(changed.lines):,} more")
    return lines


def _plural(count: int, thing: str) -> str:
    return thing if count == 1 else f"{thing}s"
