"""python -m tfrecords inspect: prints the content of a dataset directory as a table."""

import argparse
from pathlib import Path

from tfrecords.cards.facts import Facts, load_about, origin
from tfrecords.dataset.about import UNKNOWN
from tfrecords.dataset.manifest import FIND, Manifest
from tfrecords.dataset.snapshots import Snapshot, find_snapshot, load_manifest
from tfrecords.errors import printable
from tfrecords.files.place import Place, place
from tfrecords.flags import add_snapshot
from tfrecords.nested import flatten
from tfrecords.record.scene import SCENE_FEATURES
from tfrecords.record.schema import features_of

EPILOG = """\
examples:
  python -m tfrecords inspect svhn-records
  python -m tfrecords inspect s3://bucket/svhn-records
  python -m tfrecords inspect stream --snapshot 41

Reads manifest.json and about.json, and of a stream the file of the snapshot;
with --snapshot also the manifest of each of its directories.
`python -m tfrecords validate` reads all files.
"""
_ABOUT_SCENES = (
    "task find: complete pictures with the boxes of their numbers; entries are numbers, and pictures without one"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `inspect`."""
    parser.add_argument(
        "directory", type=place, metavar="DIR", help="dataset directory that prepare wrote, or its address"
    )
    add_snapshot(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the table.

    Raises:
      UserError: DIR is no dataset directory.
    """
    manifest = load_manifest(args.directory, args.snapshot)
    snapshot = find_snapshot(args.directory, manifest, args.snapshot)
    licence = _licence(Facts(manifest, load_about(args.directory)))
    print(format_manifest(manifest, args.directory, snapshot, licence))
    return 0


def _licence(facts: Facts) -> str:
    """Returns the line on the licence: stated by the owner, or of a publication, or unknown."""
    where = "" if facts.about.licence is not None else origin(facts)
    return f"licence: {facts.known.licence or UNKNOWN}" + (f". {where}" if where else "")


def format_manifest(
    manifest: Manifest, directory: Place | Path, snapshot: Snapshot | None = None, licence: str = ""
) -> str:
    """Returns the content of a manifest as a table.

    Args:
      manifest: Manifest.
      directory: Dataset directory or stream.
      snapshot: Snapshot of the stream that the manifest is of.
      licence: Line on the licence; empty for none.
    """
    longest, is_find = manifest.labels.max_length, manifest.task == FIND
    counted, stored = ("entries", "scenes") if is_find else ("pictures", "examples")
    shape = " x ".join(map(str, manifest.image.shape)) + " (height x width x channels)"
    if None in manifest.image.shape:
        # As with prepare --jitters 0: complete crops in train, windows of them in the other splits.
        shape = f"several sizes, with {manifest.image.shape[2]} channel{'s' * (manifest.image.shape[2] > 1)}"
    lines = [
        f"{manifest.name}: {directory}",
        *([] if snapshot is None else [_describe(snapshot)]),
        f"images of {shape}, {manifest.image.encoding}; schema version {manifest.schema_version}; seed {manifest.seed}",
        *([_ABOUT_SCENES] if is_find else []),
        f"numbers of up to {longest} character{'s' * (longest > 1)} of {manifest.labels.alphabet!r}",
        *([licence] if licence else []),
        "",
        f"{'split':<12}{counted:>10}{stored:>11}{'shards':>8}{'MB':>10}",
    ]
    for name, split in manifest.splits.items():
        size = sum(shard.bytes for shard in split.shards) / 1e6
        lines.append(f"{name:<12}{split.pictures:>10,}{split.examples:>11,}{len(split.shards):>8,}{size:>10,.1f}")
    lines += ["", f"{'subset':<12}{counted:>10}{'accepted':>11}{'rejected':>10}"]
    for source in manifest.sources:
        lines.append(f"{source.subset:<12}{source.pictures:>10,}{source.accepted:>11,}{source.rejected:>10,}")
    lines += [f"  rejected: {count:,} {reason}" for reason, count in manifest.dead_letters.items()]
    lines += ["", f"{'feature':<16}{'type':<7}{'shape':<8}meaning"]
    features = SCENE_FEATURES if is_find else features_of(manifest.labels, manifest.schema_version)
    for name, (kind, shape_, meaning) in features.items():
        sizes = " x ".join("N" if size < 0 else str(size) for size in shape_)
        lines.append(f"{name:<16}{kind:<7}{sizes or '-':<8}{meaning}")
    lines += ["", "made with"]
    # A configuration without values has no line.
    lines += [f"  {name} {value}" for name, value in flatten(manifest.config).items() if value != {}]
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))
    for worker in manifest.worker_versions:
        others = [f"{name} {it}" for name, it in worker.versions.items() if manifest.versions.get(name) != it]
        packages = ", ".join(others) or "fewer packages"
        # Directories that were merged: any shard may have records of each.
        what = f"{worker.shards:,} shards by workers" if worker.shards else "some records by workers"
        lines.append(f"  {what} with {packages}")
    return "\n".join(map(printable, lines))


def _describe(snapshot: Snapshot) -> str:
    count = len(snapshot.parts)
    directories = f"{count:,} director{'y' if count == 1 else 'ies'}"
    batches = f"{snapshot.batches:,} batch{'es' * (snapshot.batches != 1)}"
    dead = sum(snapshot.dead_letters.values())
    rejected = f"{dead:,} picture{'s' * (dead != 1)} rejected"
    return f"snapshot {snapshot.snapshot} of a stream: {batches} in {directories}, {rejected}"
