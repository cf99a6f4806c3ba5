"""features.json and dataset_info.json, with which TensorFlow Datasets reads the directory.

Both are written as text, so that preparing data needs neither TensorFlow nor TensorFlow Datasets. Their layout is that
of tensorflow_datasets/core/proto/{feature,dataset_info}.proto as version 4.9 writes it. Descriptions are part of the
files: another wording makes another dataset.
"""

import json
from typing import Any, NamedTuple

from tfrecords.dataset.manifest import ImageInfo, Manifest
from tfrecords.record.schema import FEATURES

_CORE = "tensorflow_datasets.core.features"


class _Publication(NamedTuple):
    """Publication of a source: its title, homepage, terms of use and paper."""

    title: str
    homepage: str
    terms: str
    citation: str


_PUBLICATIONS = {
    "svhn": _Publication(
        "Street View House Numbers (SVHN, Format 1)",
        "http://ufldl.stanford.edu/housenumbers/",
        "SVHN's pictures are for non-commercial use only.",
        """\
@inproceedings{netzer2011reading,
  title={Reading Digits in Natural Images with Unsupervised Feature Learning},
  author={Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  booktitle={NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year={2011}
}""",
    )
}
"""Publications by source, as named in the configuration of the manifest."""


def features_json(image: ImageInfo) -> str:
    """Returns the text of features.json for records with images of this shape and encoding."""
    features = {name: _feature(name) for name in FEATURES if not name.startswith("image")}
    features["image"] = _image_feature(image)
    content = {"pythonClassName": f"{_CORE}.features_dict.FeaturesDict", "featuresDict": {"features": features}}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


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
    publication = _PUBLICATIONS[manifest.config["source"]]
    version = f"{manifest.schema_version}.0.0"
    content = {
        "name": manifest.name,
        "version": version,
        "description": _description(manifest, publication),
        "citation": publication.citation,
        "location": {"urls": [publication.homepage]},
        "redistributionInfo": {"license": publication.terms},
        "releaseNotes": {version: f"Records of streetdigits' schema version {manifest.schema_version}."},
        "fileFormat": "tfrecord",
        "moduleName": "tfrecords",
        "splits": splits,
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _description(manifest: Manifest, publication: _Publication) -> str:
    """Returns the description of the dataset, one paragraph per line."""
    config, crop = manifest.config, manifest.config["crop"]
    read = " and ".join(f"{source.subset} ({source.pictures:,} pictures)" for source in manifest.sources)
    size, record = (f"{size}x{size} pixels" for size in (crop["crop_size"], crop["record_size"]))
    training = f"{crop['jitters']} windows of {record} at random places" if crop["jitters"] else "the whole crop"
    evaluation = "the whole crop" if config.get("whole_crops") else f"the window of {record} in the middle"
    lines = [
        f"Numbers in pictures, cropped to their digits, with labels and boxes: {publication.title} or pictures in the "
        f"same layout, {read}.",
        f"The union of the digits' boxes, grown by {crop['growth']:.0%}, is resized to {size}. A training picture is "
        f"stored as {training}, any other as {evaluation}.",
        "`digits` are in reading order, 10 behind the last; boxes are ymin, xmin, ymax, xmax.",
    ]
    for name, split in manifest.splits.items():
        drawn = config.get(f"{name}_fraction")
        share = f" (drawn by picture, a share of {drawn:g} of those not published as test)" if drawn else ""
        lines.append(f"Split {name}: {split.examples:,} examples of {split.pictures:,} pictures{share}.")
    rejected = sum(manifest.dead_letters.values())
    made = f"streetdigits {manifest.versions['streetdigits']}, seed {manifest.seed}"
    return "\n".join([*lines, f"Rejected: {rejected:,} pictures. Made by {made}; manifest.json tells all."])


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


def _feature(name: str) -> dict[str, Any]:
    kind, shape, meaning = FEATURES[name]
    if kind == "bytes":
        content: dict[str, Any] = {"pythonClassName": f"{_CORE}.text_feature.Text", "text": {}}
    else:
        content = _tensor(shape, "float32" if kind == "float" else kind)
    return {**content, "description": meaning}


def _image_feature(image: ImageInfo) -> dict[str, Any]:
    if image.encoding == "raw":
        return {**_tensor(image.shape, "uint8", "bytes"), "description": FEATURES["image"].meaning}
    content = _tensor(image.shape, "uint8")["tensor"]
    return {
        "pythonClassName": f"{_CORE}.image_feature.Image",
        "image": {"shape": content["shape"], "dtype": "uint8", "encodingFormat": "png"},
        "description": FEATURES["image"].meaning,
    }
