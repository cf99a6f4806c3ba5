"""croissant.json: a dataset in MLCommons' Croissant 1.1, a JSON-LD file that search engines and loaders read.

The specification is https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html. The file is a function of the
manifest and of what the owner states: no time, no path and no runner is in it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tfrecords.cards.facts import Facts, task_words
from tfrecords.cards.record_sets import pictures, records, splits
from tfrecords.dataset.about import licence_address
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.dataset.snapshots import GENERATIONS

CROISSANT = "croissant.json"
"""Name of the file."""
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
"""Version of the specification that the file keeps to."""
TFRECORD = "https://www.tensorflow.org/tutorials/load_data/tfrecord"
"""Format of a shard: TFRecords have no registered media type, and the specification asks for a page instead."""
_SHARDS = "shards"
_FORMATS = {
    ".parquet": "application/x-parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".tar": "application/x-tar",
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".yaml": "application/yaml",
}
# The context of the specification's appendix, in the words of mlcroissant, which warns of others; and PROV.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def dataset_croissant(facts: Facts, manifest_sha256: str) -> bytes:
    """Returns the file of a dataset directory or a stream.

    Each shard is a file with its digest. The manifest of a stream is replaced with each snapshot, so it has none. The
    records are described, with the type and shape of each feature; what any reader of Croissant can load is the record
    set `pictures`, which is annotations.parquet.

    Args:
      facts: What is known of the dataset.
      manifest_sha256: SHA-256 of its manifest.json, hexadecimal.
    """
    manifest, is_stream = facts.manifest, facts.snapshot is not None
    files: list[dict[str, Any]] = [file_object(MANIFEST, None if is_stream else manifest_sha256, None)]
    files += [file_object(name, digest, None) for name, digest in manifest.files.items()]
    files += [
        file_object(shard.file, shard.sha256, shard.bytes, TFRECORD)
        for split in manifest.splits.values()
        for shard in split.shards
    ]
    folder = f"{GENERATIONS}/*/" if is_stream else ""
    includes = [f"{folder}{manifest.name}-{split}.tfrecord-*" for split in manifest.splits]
    what = "TFRecord files with the records of all splits."
    if is_stream:
        what += " Generations that this snapshot does not have may match: its shards are the files named here."
    files.append(file_set(_SHARDS, includes, TFRECORD, what))
    readable = "TFRecords, which not every reader of Croissant can read: TensorFlow, TensorFlow Datasets, Grain, "
    readable += "PyTorch and tfrecords.open do. `python -m tfrecords export --to parquet` writes records that all read."
    sets = [splits(manifest.splits), records(manifest, _SHARDS, readable)]
    if ANNOTATIONS in manifest.files:
        sets.append(pictures(ANNOTATIONS))
    return document(facts, files, sets)


def document(facts: Facts, files: Iterable[Mapping[str, Any]], sets: Iterable[Mapping[str, Any]]) -> bytes:
    """Returns a Croissant file; equal arguments give equal bytes.

    Args:
      facts: What is known of the dataset.
      files: Its files and file sets.
      sets: Its record sets.
    """
    known, manifest = facts.known, facts.manifest
    lines = [*facts.description, *_unknown(facts)]
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": manifest.name,
        "description": "\n".join(lines),
        "license": licence_address(known.licence),
        # What follows, where it is known.
        "citeAs": known.citation,
        "url": known.homepage,
        "creator": {"@type": "sc:Organization", "name": known.creator} if known.creator else None,
        "datePublished": known.published,
        "version": f"{manifest.schema_version}.0.0",
        "isLiveDataset": facts.snapshot is not None,
        "keywords": ["numbers", "digits", "pictures", task_words(manifest)[1]],
        **_provenance(facts),
        "distribution": list(files),
        "recordSet": list(sets),
    }
    stated = {name: value for name, value in content.items() if value is not None}
    return (json.dumps(stated, indent=1, ensure_ascii=False) + "\n").encode()


def file_object(name: str, sha256: str | None, size: int | None, kind: str | None = None) -> dict[str, Any]:
    """Returns one file.

    Args:
      name: Path of the file in the directory, which is its identifier.
      sha256: Digest, hexadecimal; None of a file that is replaced.
      size: Size, bytes; None where it is not known.
      kind: Media type, or the address of a page on it; None for that of the suffix.
    """
    found = {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": None if size is None else f"{size} B",
        "encodingFormat": kind or _FORMATS[name[name.rindex(".") :]],
        "sha256": sha256,
    }
    return {key: value for key, value in found.items() if value is not None}


def file_set(
    identifier: str, includes: list[str], kind: str, what: str, containers: Iterable[str] = ()
) -> dict[str, Any]:
    """Returns a set of files of one format.

    Args:
      identifier: Identifier of the set.
      includes: Patterns of the paths, in the directory or in the archives.
      kind: Media type, or the address of a page on it.
      what: Description of the files.
      containers: Identifiers of the archives that hold them; none for files of the directory.
    """
    inside = [{"@id": name} for name in containers]
    return {
        "@type": "cr:FileSet",
        "@id": identifier,
        "name": identifier,
        "description": what,
        **({"containedIn": inside} if inside else {}),
        "encodingFormat": kind,
        "includes": includes,
    }


def _unknown(facts: Facts) -> list[str]:
    return [f"Nobody has stated: {', '.join(facts.unknown)}."] if facts.unknown else []


def _provenance(facts: Facts) -> dict[str, Any]:
    """Returns what the dataset was made from, by what and how, in the words of PROV and of Responsible AI."""
    manifest = facts.manifest
    agent = {"@type": "prov:SoftwareAgent", "prov:label": f"made with {facts.made}"}
    activity = {
        "@type": "prov:Activity",
        "prov:label": "python -m beam_jobs watch" if facts.snapshot is not None else "python -m beam_jobs prepare",
        "description": facts.options,
        "prov:wasAssociatedWith": agent,
    }
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in manifest.dead_letters.items())
    return {
        "prov:wasDerivedFrom": [_entity(source, manifest) for source in manifest.sources],
        "prov:wasGeneratedBy": activity,
        "rai:dataPreprocessingProtocol": [line for line in facts.description if "stored" in line or "fitted" in line],
        "rai:dataCollectionMissingData": f"Rejected pictures, by reason: {rejected or 'none'}.",
    }


def _entity(source: Any, manifest: Manifest) -> dict[str, Any]:
    what = f"subset {source.subset} in the format {manifest.config['source']}: {source.pictures:,} pictures, "
    what += f"{source.accepted:,} accepted and {source.rejected:,} rejected"
    return {
        "@type": "prov:Entity",
        "prov:label": what,
        "sha256": source.annotations_sha256,
    }
