"""features.json and dataset_info.json: what makes the directory one of TensorFlow Datasets'.

The two are written as text, so that preparing data needs neither TensorFlow nor
TensorFlow Datasets; their layout is that of tensorflow_datasets/core/proto/
{feature,dataset_info}.proto as version 4.9 writes it.
"""

import json
from typing import Any

from tfrecords.codec import FEATURES
from tfrecords.manifest import ImageInfo, Manifest

_CORE = "tensorflow_datasets.core.features"
_CITATION = """\
@inproceedings{netzer2011reading,
  title={Reading Digits in Natural Images with Unsupervised Feature Learning},
  author={Netzer, Yuval and Wang, Tao and Coates, Adam and Bissacco, Alessandro and Wu, Bo and Ng, Andrew Y.},
  booktitle={NIPS Workshop on Deep Learning and Unsupervised Feature Learning},
  year={2011}
}"""


def features_json(image: ImageInfo) -> str:
    """Returns the text of features.json for records whose pictures are as `image` says."""
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
        # TensorFlow Datasets knows no split without examples.
        if split.examples
    ]
    content = {
        "name": manifest.name,
        "version": f"{manifest.schema_version}.0.0",
        "description": "Numbers in pictures, cropped to their digits, with labels and boxes. Made by streetdigits.",
        "citation": _CITATION,
        "fileFormat": "tfrecord",
        "moduleName": "tfrecords",
        "splits": splits,
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


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
