"""The manifest: its JSON schema, what is said of a wrong one, and what the specification and others make of it."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from google.protobuf import json_format
from jsonschema import Draft202012Validator

import tfrecords
from beam_jobs.prepare.annotations_table import SCHEMA as ANNOTATION_COLUMNS
from tests.examples import FEATURES, LABELS, assert_equal_examples, make_example
from tfrecords import SCHEMA_VERSION, Manifest, UserError, decode, encode
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.commands.dataset_errors import find_manifest_errors
from tfrecords.commands.inspect import format_manifest
from tfrecords.dataset.manifest import (
    GENERATION,
    MANIFEST,
    SPLITS,
    ImageInfo,
    ShardInfo,
    SourceInfo,
    SplitInfo,
    WorkerVersions,
)
from tfrecords.dataset.tfds_metadata import dataset_info_json
from tfrecords.files.framing import masked_crc32c
from tfrecords.record.scene import SCENE_ENCODINGS, SCENE_FEATURES
from tfrecords.record.schema import DYNAMIC_IMAGE

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "tfrecords" / "manifest.schema.json").read_text())
RECORD_MD = (ROOT / "docs" / "record.md").read_text()
Capture = pytest.CaptureFixture[str]
NO_TFDS = "TensorFlow Datasets is not installed: pip install 'streetdigits[tfds]'"


def _objects(schema: dict[str, Any]) -> list[tuple[type, dict[str, Any]]]:
    """Returns each dataclass of the manifest with the part of the schema that is of it."""
    parts = schema["$defs"]
    return [
        (Manifest, schema),
        (ImageInfo, schema["properties"]["image"]),
        (SourceInfo, parts["source"]),
        (SplitInfo, parts["split"]),
        (ShardInfo, parts["shard"]),
        (WorkerVersions, parts["workers"]),
    ]


# --- the schema


def test_the_schema_is_a_json_schema_of_the_draft_that_it_names() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert SCHEMA["$id"] == f"urn:streetdigits:manifest:{SCHEMA_VERSION}"


def test_schema_and_dataclasses_name_the_same_fields() -> None:
    for kind, part in _objects(SCHEMA):
        names = [field.name for field in dataclasses.fields(kind)]
        assert list(part["properties"]) == names, kind
        assert part["required"] == [name for name in names if name not in ("worker_versions", "task")], kind
        assert part["additionalProperties"] is False, kind


def test_schema_and_code_name_the_same_constants() -> None:
    properties, shard = SCHEMA["properties"], SCHEMA["$defs"]["shard"]["properties"]
    assert properties["schema_version"]["const"] == SCHEMA_VERSION
    assert properties["splits"]["propertyNames"]["enum"] == list(SPLITS)
    assert properties["image"]["properties"]["encoding"]["enum"] == list(SCENE_ENCODINGS)
    assert all(re.search(shard["file"]["pattern"], f"svhn-{split}.tfrecord-00003-of-00064") for split in SPLITS)
    for folder in ("00000042/", "00000000-00000063/", "00000042.00000057/", "42/", "../00000042/", "00000042", "a/"):
        name = f"generations/{folder}svhn-train.tfrecord-00003-of-00064"
        is_allowed = re.fullmatch(rf"{GENERATION}/.*", name) is not None
        assert (re.search(shard["file"]["pattern"], name) is not None) is is_allowed, name


def test_every_property_is_described() -> None:
    described = [(name, value) for _, part in _objects(SCHEMA) for name, value in part["properties"].items()]
    described += [("source", SCHEMA["properties"]["config"]["properties"]["source"]), *SCHEMA["$defs"].items()]
    for name, value in described:
        assert re.fullmatch(r"[A-Z].+\.", value["description"]), name


def test_what_prepare_writes_has_no_fault_and_comes_back_equal(records: Path) -> None:
    data = (records / MANIFEST).read_bytes()
    assert list(find_manifest_errors(data, "m")) == []
    manifest = Manifest.parse(data, "m")
    assert manifest.to_json().encode() == data
    rejecting = dataclasses.replace(
        manifest, dead_letters={"too_long": 3}, image=ImageInfo((None, None, 1), "png"), config={"source": "x", "y": []}
    )
    assert list(find_manifest_errors(rejecting.to_json().encode(), "m")) == []


def _shard(content: dict[str, Any]) -> dict[str, Any]:
    return content["splits"]["train"]["shards"][1]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m.update(surprise=1), r"the object: .*'surprise' was unexpected"),
        (lambda m: m.pop("seed"), "the object: 'seed' is a required property"),
        (lambda m: m.update(name="SVHN"), "name: 'SVHN' does not match "),
        (lambda m: m.update(seed="3"), "seed: '3' is not of type 'integer'"),
        (lambda m: m.update(config=[]), r"config: \[\] is not of type 'object'"),
        (lambda m: m["config"].pop("source"), "config: 'source' is a required property"),
        (lambda m: m["versions"].update(numpy=2), "versions.numpy: 2 is not of type 'string'"),
        (
            lambda m: m.update(worker_versions=[{"versions": {}, "shards": 1}]),
            r"worker_versions\[0\].*'streetdigits' is",
        ),
        (lambda m: m["image"].update(shape=[54, 54]), r"image\.shape: \[54, 54\] is too short"),
        (lambda m: m["image"].update(shape=[54, 54, 3, 1]), r"image\.shape: .*"),
        (lambda m: m["image"].update(shape=[54, 0, 3]), r"image\.shape\[1\]: 0 is less than the minimum of 1"),
        (lambda m: m["image"].update(shape=[54, 54, 4]), r"image\.shape\[2\]: 4 is not one of \[1, 3\]"),
        (
            lambda m: m["image"].update(encoding="webp"),
            r"image\.encoding: 'webp' is not one of \['jpeg', 'raw', 'png'\]",
        ),
        (lambda m: m.update(sources=[]), r"sources: \[\] should be non-empty"),
        (lambda m: m["sources"][1].update(rejected=-1), r"sources\[1\]\.rejected: -1 is less than the minimum of 0"),
        (lambda m: m["sources"][0].pop("accepted"), r"sources\[0\]: 'accepted' is a required property"),
        (lambda m: m.update(splits={}), "splits: .*"),
        (lambda m: m["splits"].update(dev=m["splits"].pop("test")), r"splits: 'dev' is not one of \['train', 'vali"),
        (lambda m: m["splits"]["train"].update(more=1), r"splits\.train: .*'more' was unexpected"),
        (lambda m: m["splits"]["test"].update(shards=[]), r"splits\.test\.shards: \[\] should be non-empty"),
        (lambda m: _shard(m).update(bytes="12"), r"splits\.train\.shards\[1\]\.bytes: '12' is not of type 'integer'"),
        (lambda m: _shard(m).update(examples=1.5), r"splits\.train\.shards\[1\]\.examples: 1\.5 is not of type 'int"),
        (lambda m: _shard(m).update(sha256="E" * 64), r"splits\.train\.shards\[1\]\.sha256: 'EEE.*' does not match"),
        (lambda m: _shard(m).update(file="../../etc/passwd"), r"splits\.train\.shards\[1\]\.file: '\.\./\.\./etc/pass"),
        (lambda m: m["dead_letters"].update(too_long=0), r"dead_letters\.too_long: 0 is less than the minimum of 1"),
        (lambda m: m["files"].update({"../x": "0" * 64}), r"files: '\.\./x' does not match"),
        (lambda m: m["files"].update({"x": "0"}), r"files\.x: '0' does not match"),
    ],
)
def test_an_error_is_one_line_with_its_position(
    records: Path, change: Callable[[dict[str, Any]], Any], fault: str
) -> None:
    content = json.loads((records / MANIFEST).read_text())
    change(content)
    (found,) = find_manifest_errors(json.dumps(content).encode(), "m.json")
    assert re.match(rf"m\.json: {fault}", found) and "\n" not in found and len(found) < 300


def test_a_long_value_is_not_quoted_whole(records: Path) -> None:
    content = json.loads((records / MANIFEST).read_text())
    content["seed"] = list(range(10_000))
    (found,) = find_manifest_errors(json.dumps(content).encode(), "m")
    assert found.startswith("m: seed: [0, 1, 2, 3, ") and found.endswith(", 9999] is not of type 'integer'")
    assert len(found) < 300


def test_validate_prints_every_error_of_the_manifest(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((records / MANIFEST).read_text())
    content["splits"]["train"]["shards"][2]["bytes"] = "12"
    del content["seed"]
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    assert main("tfrecords", "", COMMANDS, ["validate", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    path = tmp_path / MANIFEST
    assert f"error: {path}: the object: 'seed' is a required property" in lines
    assert f"error: {path}: splits.train.shards[2].bytes: '12' is not of type 'integer'" in lines
    assert f"{tmp_path} is not valid: 2 errors" in lines


# --- reading it


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            3,
            "was made by a newer streetdigits: upgrade streetdigits; this version reads the schema versions 1 and 2. "
            "Received: 3",
        ),
        (
            0,
            "was made by an older streetdigits: read it with that version, or prepare the dataset again; this v",
        ),
        ("1", "must have an integer as its schema_version. Received: '1'"),
        (True, "must have an integer as its schema_version. Received: True"),
        (None, "must have an integer as its schema_version. Received: None"),
    ],
)
def test_another_schema_version_is_one_clear_line_to_everyone(
    records: Path, tmp_path: Path, version: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((records / MANIFEST).read_text())
    # A newer one will have fields that this one does not know.
    (tmp_path / MANIFEST).write_text(json.dumps({**content, "schema_version": version, "surprise": 1}))
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / MANIFEST} {message}")):
        tfrecords.open(tmp_path, "train", on_error="skip")
    for command in ("inspect", "validate"):
        assert main("tfrecords", "", COMMANDS, [command, str(tmp_path)]) == 1
        errors = capsys.readouterr().err
        assert errors.startswith(f"error: {tmp_path / MANIFEST} {message}") and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((54, 54, 3), "images of 54 x 54 x 3 (height x width x channels), raw; "),
        ((None, None, 3), "images of several sizes, with 3 channels, raw; "),
        ((28, None, 1), "images of several sizes, with 1 channel, raw; "),
    ],
)
def test_inspect_says_which_sizes_images_have(shape: tuple[int | None, int | None, int], text: str) -> None:
    manifest = Manifest("hand", ImageInfo(shape, "raw"), {}, 0, {}, [], {}, {})
    assert format_manifest(manifest, Path("hand")).splitlines()[1].startswith(text)


DIGITS = "0123456789"


@pytest.mark.parametrize(
    ("max_length", "alphabet", "message"),
    [
        *((wrong, DIGITS, "labels is wrong: max_length must be 1..32.") for wrong in (0, 33, -1)),
        *((wrong, DIGITS, "labels.max_length must be an integer.") for wrong in (True, "5", None)),
        *((9, wrong, "labels is wrong: alphabet must be 1 to 255 printable") for wrong in ("", DIGITS * 30, "a\nb")),
        (9, "0120", "labels is wrong: alphabet must hold each character once, and has '0' again. Received: '0120'"),
        (9, "1\ud800", "labels.alphabet must be a string that UTF-8 can encode."),
        (9, [*DIGITS], "labels.alphabet must be a string."),
    ],
)
def test_labels_that_no_dataset_has_are_one_line(
    records: Path, tmp_path: Path, max_length: object, alphabet: object, message: str, capsys: Capture
) -> None:
    content = json.loads((records / MANIFEST).read_text())
    content["labels"] = {"max_length": max_length, "alphabet": alphabet}
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / MANIFEST}: {message}")) as error:
        Manifest.load(tmp_path)
    assert "\n" not in str(error.value) and len(str(error.value)) < len(str(tmp_path)) + 250
    assert main("tfrecords", "", COMMANDS, ["validate", str(tmp_path)]) == 1
    assert f"{MANIFEST}: labels" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff\xfe", b"1", b'"text"', b"null", b'{"schema_version": 1'])
def test_what_is_no_manifest_is_one_line(tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    assert main("tfrecords", "", COMMANDS, ["validate", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert f"{tmp_path / MANIFEST} must be a JSON object with a schema_version. Received: " in errors
    assert errors.count("\n") == 1


def test_reading_needs_no_json_schema(records: Path) -> None:
    program = f"""
import sys
sys.modules["jsonschema"] = None  # any import of it now fails
import tfrecords
print(len(tfrecords.open({str(records)!r}, "train")))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "240\n"


# --- docs/record.md


def _rows(heading: str) -> list[list[str]]:
    """Returns the cells of the first table below a heading of docs/record.md, without its head."""
    section = RECORD_MD.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def test_the_specification_tables_every_feature() -> None:
    found = {name.strip("`"): (kind, shape) for name, kind, shape, *_ in _rows("The record")}
    expected = {name: (kind, " x ".join(map(str, shape))) for name, (kind, shape, _) in FEATURES.items()}
    # The longest number is L there.
    found = {name: (kind, shape.replace("L", str(LABELS.max_length))) for name, (kind, shape) in found.items()}
    assert found == expected and list(found) == list(expected)
    assert f"`{DYNAMIC_IMAGE}`" in RECORD_MD


def test_the_specification_tables_every_feature_of_scenes() -> None:
    found = {name.strip("`"): (kind, shape) for name, kind, shape, *_ in _rows("Scenes")}
    shapes = {name: " x ".join(map(str, shape)).replace("-1", "N") for name, (_, shape, _) in SCENE_FEATURES.items()}
    expected = {name: (feature.kind, shapes[name]) for name, feature in SCENE_FEATURES.items()}
    assert found == expected and list(found) == list(expected)


def test_records_keep_to_the_ranges_that_the_specification_states(records: Path) -> None:
    crop = Manifest.load(records).config["crop"]
    limits = {}
    for name, _, _, stated, *_ in _rows("The record"):
        margin = "`crop_size` - `record_size`, across times the aspect"
        stated = stated.replace(margin, str(crop["crop_size"] - crop["record_size"]))
        stated = re.sub("L$", str(LABELS.max_length), re.sub("A$", str(LABELS.pad), stated))
        if span := re.fullmatch(r"(\d+)(?:\.\.(\d+)| or more)", stated):
            limits[name.strip("`")] = int(span[1]), float(span[2] or "inf")
    assert set(limits) == {"image", "length", "digits", "jitter_offset", "source_size"}
    for example in tfrecords.open(records, "train"):
        for name, (low, high) in limits.items():
            value = np.asarray(getattr(example, name))
            assert low <= value.min() and value.max() <= high, name
        assert example.image.shape == (54, 54, 3)
        ymin, xmin, ymax, xmax = example.crop_box
        assert 0 <= ymin < ymax <= example.source_size[0] and 0 <= xmin < xmax <= example.source_size[1]
        assert re.fullmatch(r"train/\d+\.png#[0-4]", example.key)
        assert np.isfinite(example.boxes).all() and not example.boxes[example.length :].any()


def test_the_specification_tables_every_field_of_the_manifest() -> None:
    def paths(part: dict[str, Any], prefix: str) -> list[str]:
        found = []
        for name, value in part.get("properties", {}).items():
            found.append(prefix + name)
            inner = value.get("items") or value.get("additionalProperties") or {}
            step = "[]." if value.get("items") else ".SPLIT."
            if isinstance(inner, dict) and "$ref" in inner:
                found += paths(SCHEMA["$defs"][inner["$ref"].rpartition("/")[2]], prefix + name + step)
            found += paths(value, f"{prefix}{name}.")
        return found

    assert [name.strip("`") for name, *_ in _rows("The manifest")] == paths(SCHEMA, "")


def test_the_specification_tables_every_column_of_the_annotations() -> None:
    kinds = {"string": "string", "int64": "int64", "list": "list of boxes", "struct": "box"}
    expected = [(field.name, kinds[re.split("<", str(field.type))[0]]) for field in ANNOTATION_COLUMNS]
    assert [(name.strip("`"), kind) for name, kind, _ in _rows("annotations.parquet")] == expected


def test_the_specification_states_the_checksum_that_tensorflow_writes(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "one")) as writer:
        writer.write(b"123456789")
    stated = re.search(r"has the CRC (0x\w+), masked (0x\w+)\.", RECORD_MD)
    assert stated
    crc, masked = (int(number, 16) for number in stated.groups())
    assert (tmp_path / "one").read_bytes()[-4:] == masked.to_bytes(4, "little")
    assert (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32 == masked == masked_crc32c(b"123456789")


def _digest(seed: int, purpose: str, key: str) -> int:
    """The digest as the specification states it."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{purpose}/{key}".encode(), digest_size=8).digest(), "big")


def test_splits_shards_order_and_jitters_follow_from_the_digests_that_the_specification_states(records: Path) -> None:
    manifest = Manifest.load(records)
    places = 64 - 54 + 1
    for split, info in manifest.splits.items():
        examples = tfrecords.open(records, split)
        for number, shard in enumerate(info.shards):
            part, examples = examples[: shard.examples], examples[shard.examples :]
            keys = [example.key for example in part]
            assert keys == sorted(keys, key=lambda key: (_digest(3, "order", key), key))
            for example in part:
                picture = example.key.rpartition("#")[0]
                assert _digest(3, "shard", picture) % len(info.shards) == number
                if split != "test":
                    assert (_digest(3, "split", picture) / 2**64 < 0.2) == (split == "validation")
                n = _digest(3, "jitter", example.key) % places**2
                expected = (n // places, n % places) if split == "train" else (5, 5)
                assert tuple(example.jitter_offset) == expected
        assert len(examples) == 0


def test_the_digest_of_the_pictures_is_as_the_specification_states(records: Path) -> None:
    rows = pq.read_table(records / "annotations.parquet").to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["subset"], row["index"]))
    for source in Manifest.load(records).sources:
        of_source = sorted((row for row in rows if row["subset"] == source.subset), key=lambda row: row["key"])
        lines = "".join(f"{row['key']} {row['source_bytes']} {row['source_crc32c']}\n" for row in of_source)
        assert hashlib.sha256(lines.encode()).hexdigest() == source.pictures_sha256


def test_features_that_are_not_known_are_ignored_as_the_specification_asks() -> None:
    example = make_example()
    record = tf.train.Example.FromString(encode(example))
    record.features.feature["zzz/later"].float_list.value.append(1.5)
    record.features.feature["a/later"].bytes_list.value.append(b"more")
    assert_equal_examples(decode(record.SerializeToString()), example)


def test_every_heading_of_the_specification_is_in_its_contents() -> None:
    headings = re.findall(r"^## (.+)$", RECORD_MD, re.MULTILINE)
    contents = re.findall(r"^\d+\. \[(.+)\]\(#(.+)\)$", RECORD_MD, re.MULTILINE)
    assert [(text, re.sub(r"[^a-z_-]", "", text.lower().replace(" ", "-"))) for text in headings] == contents


# --- TensorFlow Datasets


def test_tensorflow_datasets_tells_what_the_dataset_is(records: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason=NO_TFDS)
    builder = tfds.builder_from_directory(records)
    info = builder.info
    for text in (
        "Street View House Numbers",
        "train (60 pictures) and test (20 pictures)",
        "grown by 30%, is resized to 64x64 pixels",
        "stored as 5 windows of 54x54 pixels at random places",
        "Split train: 240 examples of 48 pictures.",
        "Split validation: 12 examples of 12 pictures (drawn by picture, a share of 0.2 ",
        "Split test: 20 examples of 20 pictures.",
        "streetdigits 0.",
    ):
        assert text in info.description, text
    assert info.homepage == "http://ufldl.stanford.edu/housenumbers/"
    assert "non-commercial" in info.redistribution_info.license
    assert info.citation.startswith("@inproceedings{netzer2011reading,") and info.citation.endswith("}")
    assert builder.release_notes == {"2.0.0": "Records of streetdigits' schema version 2."}
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 240,
        "validation": 12,
        "test": 20,
    }


def test_dataset_info_has_only_fields_of_tensorflow_datasets(records: Path) -> None:
    manifest = Manifest.load(records)
    pytest.importorskip("tensorflow_datasets", reason=NO_TFDS)
    from tensorflow_datasets.core.proto import dataset_info_pb2

    proto = json_format.Parse(dataset_info_json(manifest), dataset_info_pb2.DatasetInfo())
    assert proto.redistribution_info.license and proto.location.urls and proto.release_notes
    shards = manifest.split("train").shards
    assert list(proto.splits[0].shard_lengths) == [shard.examples for shard in shards]
    assert proto.splits[0].num_bytes == sum(shard.bytes for shard in shards)


def test_the_description_follows_the_configuration(records: Path) -> None:
    manifest = Manifest.load(records)
    config = {**manifest.config, "crop": {**manifest.config["crop"], "jitters": 0, "growth": 0.5}}
    changed = dataclasses.replace(manifest, config=config, dead_letters={"too_long": 3, "bad_box": 1_000})
    description = json.loads(dataset_info_json(changed))["description"]
    for text in (
        "grown by 50%",
        "A training picture is stored as the whole crop, any other",
        "Rejected: 1,003 pictures",
    ):
        assert text in description, text


def test_the_description_claims_no_box_that_is_not_there(records: Path) -> None:
    manifest = Manifest.load(records)
    crop = {**manifest.config["crop"], "crop_size": 28, "record_size": 28, "jitters": 0}
    config = {**manifest.config, "source": "mnist", "crop": crop, "split": "validation"}
    changed = dataclasses.replace(manifest, config=config, image=ImageInfo((28, 28, 1), "raw"))
    lines = json.loads(dataset_info_json(changed))["description"].splitlines()
    assert lines[:2] == [
        "Numbers in pictures, with labels: MNIST handwritten digits or pictures in the same layout, train (60 "
        "pictures) and test (20 pictures).",
        "The union of its characters' boxes or the box of a number, grown by 30%, or else the whole picture, is "
        "resized to 28x28 pixels and made grey, and stored as a whole.",
    ]
    assert lines[2].endswith("boxes are ymin, xmin, ymax, xmax, or zeros where `has_digit_boxes` is false.")
    assert "drawn" not in "".join(lines)
    table = dataclasses.replace(changed, config={**config, "source": "table"})
    content = json.loads(dataset_info_json(table))
    assert "pictures labelled in the format table, train" in content["description"]
    assert content["citation"] == "" and content["redistributionInfo"] == {} and content["location"] == {"urls": []}


def test_a_copy_of_the_dataset_elsewhere_is_the_same_to_tensorflow_datasets(records: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(records, tmp_path / "other name")
    tfds = pytest.importorskip("tensorflow_datasets", reason=NO_TFDS)
    builder = tfds.builder_from_directory(copy)
    found = [text.decode() for text in tfds.as_numpy(builder.as_dataset(split="test").map(lambda row: row["text"]))]
    assert found == [example.text for example in tfrecords.open(copy, "test")]
