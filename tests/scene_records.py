"""A dataset of scenes, drawn in moments: `write_scenes`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfrecords.dataset.manifest import Manifest
from tfrecords.dataset.tfds_metadata import dataset_info_json, features_json
from tfrecords.files.framing import frame
from tfrecords.files.index import format_index, index_path
from tfrecords.record.scene import SceneExample, encode_scene

CANVAS = 96
_DIGESTS = ("annotations_sha256", "pictures_sha256")


def draw_scene(key: str, texts: Sequence[str] = ("19", "7"), height: int = 70) -> SceneExample:
    """Returns a scene of 96 x 96 pixels with numbers one below the other; the boxes of all characters are known."""
    picture = Image.new("RGB", (CANVAS, height), (90, 110, 130))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(20)
    boxes, labels, owners, digits = [], [], [], []
    for index, text in enumerate(texts):
        top, left = 4 + 26 * index, 6 + 30 * index
        for place, character in enumerate(text):
            box = (top, left + 12 * place, top + 20, left + 12 * place + 11)
            pen.text((box[1], box[0] - 3), character, fill=(255, 255, 255), font=font)
            labels.append(int(character))
            owners.append(index)
            digits.append(box)
        boxes.append((top, left, top + 20, left + 12 * len(text) - 1))
    image = np.zeros((CANVAS, CANVAS, 3), np.uint8)
    image[:height] = np.asarray(picture)
    return SceneExample(
        key=key,
        image=image,
        texts=tuple(texts),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        digit_labels=np.array(labels, np.int64),
        digit_numbers=np.array(owners, np.int64),
        digit_boxes=np.array(digits, np.float32).reshape(-1, 4),
        source_size=np.array([2 * height, 2 * CANVAS]),
        content_size=np.array([height, CANVAS]),
    )


def draw_scenes() -> dict[str, list[SceneExample]]:
    """Returns scenes by split, with one, several and no number."""
    texts = [("19", "7"), (), ("305",), ("4", "88"), ("1234",)]
    train = [draw_scene(f"train/street {index}.png", numbers) for index, numbers in enumerate(texts)]
    return {"train": train, "validation": [draw_scene("train/a.png", ("52",))], "test": [draw_scene("test/a.png")]}


def _counted(scene: SceneExample) -> int:
    """Returns how often a scene counts in a manifest: once for each of its numbers, or once without one."""
    return max(1, len(scene.texts))


def write_scenes(
    folder: Path, scenes: dict[str, list[SceneExample]] | None = None, encoding: str = "jpeg", shards: int = 2
) -> Path:
    """Writes a dataset directory of scenes and returns it.

    Args:
      folder: Directory to write, which does not exist.
      scenes: Scenes by split; None for those of `draw_scenes`.
      encoding: Encoding of the pixels.
      shards: Number of shards of each split.
    """
    folder.mkdir()
    scenes = draw_scenes() if scenes is None else scenes
    splits = {}
    for split, of_split in scenes.items():
        found = []
        for index in range(shards):
            name = f"photos-{split}.tfrecord-{index:05d}-of-{shards:05d}"
            frames = [frame(encode_scene(scene, encoding)) for scene in of_split[index::shards]]
            data = b"".join(frames)
            (folder / name).write_bytes(data)
            Path(index_path(str(folder / name))).write_bytes(format_index(map(len, frames)))
            found.append(
                {
                    "file": name,
                    "examples": len(frames),
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
        splits[split] = {"pictures": sum(map(_counted, of_split)), "examples": len(of_split), "shards": found}
    sources = []
    for subset in ("train", "test"):
        count = sum(_counted(scene) for each in scenes.values() for scene in each if scene.key.startswith(f"{subset}/"))
        numbers = {"pictures": count, "accepted": count, "rejected": 0}
        sources.append({"subset": subset, **numbers, **dict.fromkeys(_DIGESTS, "0" * 64)})
    content = {
        "name": "photos",
        "image": {"shape": (CANVAS, CANVAS, 3), "encoding": encoding},
        "config": {"source": "coco", "task": "find", "canvas": CANVAS},
        "seed": 0,
        "versions": {"streetdigits": "0.0.0"},
        "sources": sources,
        "splits": splits,
        "dead_letters": {},
        "files": {},
        "labels": {"max_length": 5, "alphabet": "0123456789"},
        "schema_version": 2,
        "task": "find",
    }
    manifest = Manifest.parse(json.dumps(content).encode(), "manifest.json")
    for name, text in (
        ("features.json", features_json(manifest.image, manifest.labels, manifest.task)),
        ("dataset_info.json", dataset_info_json(manifest)),
    ):
        (folder / name).write_text(text)
        manifest.files[name] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder
