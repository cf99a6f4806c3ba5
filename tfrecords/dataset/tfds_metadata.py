"""features.json and dataset_info.json, with which TensorFlow Datasets reads the directory.

Both are written as text, so that preparing data needs neither TensorFlow nor TensorFlow Datasets. Their layout is that
of tensorflow_datasets/core/proto/{feature,dataset_info}.proto as version 4.9 writes it. Descriptions are part of the
files: another wording makes another dataset.
"""

import json
from typing import Any

from tfrecords.dataset.manifest import FIND, READ, ImageInfo, Manifest
from tfrecords.dataset.publications import PUBLICATIONS, Publication
from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels
from tfrecords.record.scene import SCENE_FEATURES
from tfrecords.record.schema import NEW_IN_2, Feature, features_of

_CORE = "tensorflow_datasets.core.features"


def features_json(image: ImageInfo, labels: Labels, task: str = READ) -> str:
    """Returns the text of features.json.

    Args:
      image: Shape and encoding of the records' images.
      labels: What the dataset's numbers may be.
      task: Task of the dataset, one of `tfrecords.dataset.manifest.TASKS`.
    """
    known = SCENE_FEATURES if task == FIND else features_of(labels)
    features = {name: _feature(name, known[name]) for name in known if "/" not in name and name != "image"}
    features["image"] = _image_feature(image, known["image"].meaning)
    for group in sorted({name.partition("/")[0] for name in known if "/" in name} - {"image"}):
        features[group] = _sequence(group)
    return json.dumps(_dict_of(features), indent=2, sort_keys=True) + "\n"


def _dict_of(features: dict[str, Any]) -> dict[str, Any]:
    return {"pythonClassName": f"{_CORE}.features_dict.FeaturesDict", "featuresDict": {"features": features}}


def _sequence(group: str) -> dict[str, Any]:
    """Returns the feature of the lists of a scene's numbers or characters, which have one length."""
    features = {}
    for name, (kind, shape, meaning) in SCENE_FEATURES.items():
        if name.startswith(f"{group}/"):
            one = Feature(kind, shape[1:], meaning)
            features[name.partition("/")[2]] = _box_feature(meaning) if shape[1:] == (4,) else _feature(name, one)
    content = {"feature": _dict_of(features), "length": "-1"}
    return {"pythonClassName": f"{_CORE}.sequence_feature.Sequence", "sequence": content}


def _box_feature(meaning: str) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CORE}.bounding_boxes.BBoxFeature",
        "boundingBox": {"shape": {"dimensions": ["4"]}, "dtype": "float32", "bboxFormat": "REL_YXYX"},
        "description": meaning,
    }


def dataset_info_json(manifest: Manifest) -> str:
    """Returns the text of dataset_info.json for a dataset."""
    splits = [
        {
            "name": name,
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            "numBytes": str(sum(shard.bytes for shard in split.shards)),
            "shardLengths": [str(shard.examples) for shard in split.shards],
        }
        for name, split in manifest.splits.items()
        # TensorFlow Datasets does not support splits without examples.
        if split.examples
    ]
    publication = _publication(manifest)
    version = f"{manifest.schema_version}.0.0"
    content = {
        "name": manifest.name,
        "version": version,
        "description": description(manifest),
        "citation": publication.citation,
        "location": {"urls": [publication.homepage] if publication.homepage else []},
        "redistributionInfo": {"license": publication.terms} if publication.terms else {},
        "releaseNotes": {version: f"Records of streetdigits' schema version {manifest.schema_version}."},
        "fileFormat": "tfrecord",
        "moduleName": "tfrecords",
        "splits": splits,
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _publication(manifest: Manifest) -> Publication:
    source = manifest.config["source"]
    return PUBLICATIONS.get(source) or Publication(f"pictures labelled in the format {source}")


def description(manifest: Manifest) -> str:
    """Returns the description of a dataset, one paragraph per line."""
    publication = _publication(manifest)
    read = " and ".join(f"{source.subset} ({source.pictures:,} pictures)" for source in manifest.sources)
    about = _about_scenes if manifest.task == FIND else _about_crops
    lines = about(manifest, publication, read)
    for name, split in manifest.splits.items():
        drawn = not manifest.config.get("split") and manifest.config.get(f"{name}_fraction")
        share = f" (drawn by picture, a share of {drawn:g} of those not published as test)" if drawn else ""
        lines.append(f"Split {name}: {split.examples:,} examples of {split.pictures:,} pictures{share}.")
    rejected = sum(manifest.dead_letters.values())
    made = f"streetdigits {manifest.versions['streetdigits']}, seed {manifest.seed}"
    return "\n".join([*lines, f"Rejected: {rejected:,} pictures. Made by {made}; manifest.json tells all."])


def _about_scenes(manifest: Manifest, publication: Publication, read: str) -> list[str]:
    """Returns the first lines of the description of a dataset of scenes."""
    height, width, _ = manifest.image.shape
    return [
        f"Pictures with the boxes of their numbers: {publication.title}, {read}.",
        f"Each is fitted into {width}x{height} pixels, its aspect ratio kept, in the upper left corner; the rest is 0.",
        f"`digits/label` are indices into {manifest.labels.alphabet!r}; bbox is ymin, xmin, ymax, xmax, shares of the "
        "image. A picture without a number has no boxes.",
    ]


def _about_crops(manifest: Manifest, publication: Publication, read: str) -> list[str]:
    """Returns the first lines of the description of a dataset of images cut out around numbers."""
    crop, labels = manifest.config["crop"], manifest.labels
    labelled, growth = "with labels", f"grown by {crop['growth']:.0%}"
    cut = f"The union of its characters' boxes or the box of a number, {growth}, or else the whole picture,"
    boxes = "boxes are ymin, xmin, ymax, xmax, or zeros where `has_digit_boxes` is false"
    if publication.has_digit_boxes:
        labelled, cut = "cropped to their digits, with labels and boxes", f"The union of the digits' boxes, {growth},"
        boxes = "boxes are ymin, xmin, ymax, xmax"
    title = f"{publication.title} or pictures in the same layout" if publication.homepage else publication.title
    return [
        f"Numbers in pictures, {labelled}: {title}, {read}.",
        f"{cut} is {_stored(manifest)}",
        f"`digits` are indices into {labels.alphabet!r}, in reading order, padded with {labels.pad}; {boxes}.",
    ]


def _stored(manifest: Manifest) -> str:
    """Returns the end of the sentence on crops: their size, and what of them is stored."""
    config, crop = manifest.config, manifest.config["crop"]
    spec = CropSpec(**crop)
    size, record = (f"{width}x{height} pixels" for height, width in (spec.crop_shape, spec.record_shape))
    training = f"{crop['jitters']} windows of {record} at random places" if crop["jitters"] else "the whole crop"
    is_whole = config.get("whole_crops") or (spec.crop_shape == spec.record_shape and not crop["jitters"])
    evaluation = "the whole crop" if is_whole else f"the window of {record} in the middle"
    resized = f"resized to {size}" + (" and made grey" if manifest.image.shape[2] == 1 else "")
    if training == evaluation:
        return f"{resized}, and stored as a whole."
    return f"{resized}. A training picture is stored as {training}, any other as {evaluation}."


def _tensor(shape: tuple[int | None, ...], dtype: str, encoding: str = "none") -> dict[str, Any]:
    # The proto writes an unknown dimension as -1 and every dimension as a string.
    dimensions = [str(-1 if size is None else size) for size in shape]
    return {
        "pythonClassName": f"{_CORE}.tensor_feature.Tensor",
        "tensor": {
            "shape": {"dimensions": dimensions} if dimensions else {},
            "dtype": dtype,
            "encoding": encoding,
        },
    }


def _feature(name: str, feature: Feature) -> dict[str, Any]:
    kind, shape, meaning = feature
    if name == NEW_IN_2:
        # TensorFlow Datasets stores truth values as int64.
        content: dict[str, Any] = _tensor(shape, "bool")
    elif kind == "bytes":
        content = {"pythonClassName": f"{_CORE}.text_feature.Text", "text": {}}
    else:
        content = _tensor(shape, "float32" if kind == "float" else kind)
    return {**content, "description": meaning}


def _image_feature(image: ImageInfo, meaning: str) -> dict[str, Any]:
    if image.encoding == "raw":
        return {**_tensor(image.shape, "uint8", "bytes"), "description": meaning}
    content = _tensor(image.shape, "uint8")["tensor"]
    return {
        "pythonClassName": f"{_CORE}.image_feature.Image",
        "image": {"shape": content["shape"], "dtype": "uint8", "encodingFormat": image.encoding},
        "description": meaning,
    }
