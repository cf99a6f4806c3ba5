"""The record sets of croissant.json: the fields of records, of an export's columns and of annotations.parquet."""

from collections.abc import Iterable, Mapping
from typing import Any

from tfrecords.dataset.manifest import FIND, SPLITS, UNKNOWN_SPLIT, Manifest
from tfrecords.record.scene import SCENE_FEATURES
from tfrecords.record.schema import DYNAMIC_IMAGE, Feature, features_of

Json = dict[str, Any]
EXAMPLES = "examples"
"""Name of the record set of what a dataset is of: images with labels."""
PICTURES = "pictures"
"""Name of the record set of annotations.parquet: the source pictures, rejected ones too."""
_SPLITS = {
    "train": "cr:TrainingSplit",
    "validation": "cr:ValidationSplit",
    "test": "cr:TestSplit",
    UNKNOWN_SPLIT: f"urn:split:{UNKNOWN_SPLIT}",
}
# The split itself too: mlcroissant applies it to what it has found once more, and warns where nothing matches.
_SPLIT_IN_PATH = rf"^(?:.*[/-])?({'|'.join(SPLITS)})(?:[-./].*)?$"
_LABELS = ("text", "digits", "digits/label", "numbers/text", "texts", "digit_labels")
_TYPES = {"bytes": "sc:Text", "int64": "sc:Integer", "float": "sc:Float"}
_SCENE_COLUMNS = {
    "texts": Feature("bytes", (-1,), "the numbers; none for a picture without a number"),
    "boxes": Feature("float", (-1, 4), "ymin, xmin, ymax, xmax of each number in the image, pixels"),
    "digit_labels": Feature("int64", (-1,), "index in the alphabet of each character whose box is known"),
    "digit_numbers": Feature("int64", (-1,), "index in texts of the number of each of these characters"),
    "digit_boxes": Feature("float", (-1, 4), "ymin, xmin, ymax, xmax of each of these characters, pixels"),
}
_BOX_EDGES = "ymin, xmin, ymax, xmax, pixels of the source picture"
_PICTURE_COLUMNS = {
    "key": Feature("bytes", (), "subset and picture: train/123.png"),
    "subset": Feature("bytes", (), "subset of the source"),
    "name": Feature("bytes", (), "name of the picture's file"),
    "text": Feature("bytes", (), "the number; null if it is not known"),
    "length": Feature("int64", (), "number of characters"),
    "split": Feature("bytes", (), "split of its examples; null if it was rejected"),
    "source_height": Feature("int64", (), "height of the picture, pixels"),
    "source_width": Feature("int64", (), "width of the picture, pixels"),
    "reason": Feature("bytes", (), "why it was rejected; null if it was not"),
    "detail": Feature("bytes", (), "the value that was wrong"),
}


def splits(names: Iterable[str]) -> Json:
    """Returns the record set of a dataset's splits, which fields of others refer to.

    Args:
      names: Names of the splits.
    """
    rows = [{"splits/name": name, "splits/url": _SPLITS[name]} for name in names]
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "Splits of the dataset. `predict` has pictures whose numbers need not be known.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            _field("splits/name", "sc:Text", "Name of the split."),
            _field("splits/url", "sc:URL", "What the split is for."),
        ],
        "data": rows,
    }


def records(manifest: Manifest, files: str, readable: str) -> Json:
    """Returns the record set of a dataset's TFRecords: a field for each feature, whose column has its name.

    Args:
      manifest: Manifest of the dataset.
      files: Identifier of the file set of the shards.
      readable: Sentence on who can read the records.
    """
    known = SCENE_FEATURES if manifest.task == FIND else features_of(manifest.labels, manifest.schema_version)
    fields = []
    for name, feature in known.items():
        if name == "image":
            fields.append(_stored_image(manifest, feature, files))
        else:
            fields.append(_of_feature(f"{EXAMPLES}/{name}", name, feature, files))
    return _examples(manifest, [_split_field(files), *fields], readable)


def columns(manifest: Manifest, files: str, readable: str) -> Json:
    """Returns the record set of an export as Parquet or Arrow files: a field for each column.

    Args:
      manifest: Manifest of the dataset that was exported.
      files: Identifier of the file set.
      readable: Sentence on who can read the files.
    """
    image = _field(f"{EXAMPLES}/image", "sc:ImageObject", "PNG file of the image; of scenes also a JPEG file")
    image["source"] = {**_column(files, "image"), "transform": {"jsonPath": "bytes"}}
    fields = [
        image if name == "image" else _of_feature(f"{EXAMPLES}/{name}", name, feature, files)
        for name, feature in column_features(manifest).items()
    ]
    return _examples(manifest, [_split_field(files), *fields], readable)


def column_features(manifest: Manifest) -> dict[str, Feature]:
    """Returns the columns of an export, with their types, shapes and meanings, in their order."""
    if manifest.task == FIND:
        order = ("key", "image", *_SCENE_COLUMNS, "source_size", "content_size")
        return {name: _SCENE_COLUMNS.get(name) or SCENE_FEATURES[name] for name in order}
    known = features_of(manifest.labels)
    return {name: known[name] for name in known if "/" not in name}


def files_of_pictures(manifest: Manifest, files: str, has_split: bool, readable: str) -> Json:
    """Returns the record set of an export of one file for each picture: its name, pixels and split.

    Args:
      manifest: Manifest of the dataset that was exported.
      files: Identifier of the file set of the pictures.
      has_split: Whether the first folder of a picture is its split.
      readable: Sentence on what else there is.
    """
    name = _field(f"{EXAMPLES}/file", "sc:Text", "Name of the picture's file.")
    name["source"] = {"fileSet": {"@id": files}, "extract": {"fileProperty": "filename"}}
    image = _field(f"{EXAMPLES}/image", "sc:ImageObject", "The picture.")
    image["source"] = {"fileSet": {"@id": files}, "extract": {"fileProperty": "content"}}
    split = [_split_field(files)] if has_split else []
    return _examples(manifest, [*split, name, image], readable)


def pictures(file: str) -> Json:
    """Returns the record set of annotations.parquet.

    Args:
      file: Identifier of the file.
    """
    fields = []
    for name, feature in _PICTURE_COLUMNS.items():
        field = _field(f"{PICTURES}/{name}", _TYPES[feature.kind], feature.meaning)
        field["source"] = {"fileObject": {"@id": file}, "extract": {"column": name}}
        fields.append(field)
    edges = []
    for edge in ("ymin", "xmin", "ymax", "xmax"):
        part = _field(f"{PICTURES}/crop_box/{edge}", "sc:Float", f"Edge of the crop, pixels: {edge}.")
        source = {"fileObject": {"@id": file}, "extract": {"column": "crop_box"}, "transform": {"jsonPath": edge}}
        edges.append({**part, "source": source})
    identifier = f"{PICTURES}/crop_box"
    box: Json = {"@type": "cr:Field", "@id": identifier, "name": identifier, "subField": edges}
    box["description"] = f"Crop: {_BOX_EDGES}; null if it was rejected."
    return {
        "@type": "cr:RecordSet",
        "@id": PICTURES,
        "name": PICTURES,
        "description": "A row for each number of the source pictures, rejected ones with the reason. Every reader of "
        "Croissant can read these records.",
        "key": {"@id": f"{PICTURES}/key"},
        "field": [*fields, box],
    }


def _examples(manifest: Manifest, fields: list[Json], readable: str) -> Json:
    what = "Pictures with the boxes of their numbers." if manifest.task == FIND else "Images of a number each."
    has_key = any(field["@id"] == f"{EXAMPLES}/key" for field in fields)
    return {
        "@type": "cr:RecordSet",
        "@id": EXAMPLES,
        "name": EXAMPLES,
        "description": f"{what} {readable}",
        **({"key": {"@id": f"{EXAMPLES}/key"}} if has_key else {}),
        "field": fields,
    }


def _split_field(files: str) -> Json:
    field = _field(f"{EXAMPLES}/split", "sc:Text", "Split of the example, from the path of its file.")
    source = {
        "fileSet": {"@id": files},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": _SPLIT_IN_PATH},
    }
    return {**field, "source": source, "references": {"field": {"@id": "splits/name"}}}


def _stored_image(manifest: Manifest, feature: Feature, files: str) -> Json:
    """Returns the field of the image of a record: a file, or the pixels in row-major order."""
    name = DYNAMIC_IMAGE if manifest.image.dynamic else "image"
    is_raw = manifest.image.encoding == "raw"
    field = _field(f"{EXAMPLES}/{name}", "cr:UInt8" if is_raw else "sc:ImageObject", feature.meaning)
    if is_raw:
        sizes = ",".join("-1" if size is None else str(size) for size in manifest.image.shape)
        field |= {"isArray": True, "arrayShape": sizes}
    return {**field, "source": _column(files, name)}


def _of_feature(identifier: str, name: str, feature: Feature, files: str) -> Json:
    kind: str | list[str] = _TYPES[feature.kind]
    if feature.shape[-1:] == (4,):
        kind = [str(kind), "cr:BoundingBox"]
    elif name in _LABELS:
        kind = [str(kind), "cr:Label"]
    elif name == "has_digit_boxes":
        kind = "sc:Boolean"
    field = _field(identifier, kind, feature.meaning)
    if feature.shape:
        field |= {"isArray": True, "arrayShape": ",".join(map(str, feature.shape))}
    return {**field, "source": _column(files, name)}


def _column(files: str, name: str) -> Json:
    return {"fileSet": {"@id": files}, "extract": {"column": name}}


def _field(identifier: str, kind: str | list[str], meaning: str) -> Json:
    named: Mapping[str, Any] = {"@type": "cr:Field", "@id": identifier, "name": identifier}
    return {**named, "description": meaning, "dataType": kind}
