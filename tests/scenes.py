"""A small dataset of scenes: bright bars, two or three to a number, on dark noise."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfrecords.dataset.manifest import FIND, MANIFEST, ImageInfo, Manifest, ShardInfo, SplitInfo
from tfrecords.files.framing import frame
from tfrecords.record.scene import SceneExample, encode_scene

CANVAS = 64


def draw_scene(seed: int, canvas: int = CANVAS, numbers: int | None = None) -> SceneExample:
    """Returns a scene with up to one number in each half of its picture, which fills three quarters of the image."""
    rng = np.random.default_rng(seed)
    height = canvas * 3 // 4
    image = np.zeros((canvas, canvas, 3), np.uint8)
    image[:height] = rng.integers(0, 90, (height, canvas, 3))
    boxes, texts = [], []
    count = int(rng.integers(0, 3)) if numbers is None else numbers
    for half in range(count):
        characters = int(rng.integers(2, 4))
        top, left = int(rng.integers(4, height - 20)), half * canvas // 2 + int(rng.integers(2, 6))
        for character in range(characters):
            image[top : top + 14, left + 8 * character : left + 8 * character + 4] = 230
        boxes.append([top, left, top + 14, left + 8 * characters - 4])
        texts.append("1" * characters)
    return SceneExample(
        key=f"train/{seed}.png",
        image=image,
        texts=tuple(texts),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        digit_labels=np.zeros(0, np.int64),
        digit_numbers=np.zeros(0, np.int64),
        digit_boxes=np.zeros((0, 4), np.float32),
        source_size=np.array([height, canvas]),
        content_size=np.array([height, canvas]),
    )


def write_scenes(
    directory: Path, splits: Mapping[str, Sequence[SceneExample]], encoding: str = "jpeg", per_shard: int = 12
) -> Path:
    """Writes a dataset directory of scenes and returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    infos = {}
    for name, scenes in splits.items():
        count = -(-len(scenes) // per_shard)
        shards = []
        for index in range(count):
            part = scenes[index * per_shard : (index + 1) * per_shard]
            data = b"".join(frame(encode_scene(scene, encoding)) for scene in part)
            file = f"scenes-{name}.tfrecord-{index:05d}-of-{count:05d}"
            (directory / file).write_bytes(data)
            shards.append(ShardInfo(file, len(part), len(data), hashlib.sha256(data).hexdigest()))
        infos[name] = SplitInfo(len(scenes), len(scenes), shards)
    shape = next(iter(splits.values()))[0].image.shape
    manifest = Manifest(
        name="scenes",
        image=ImageInfo((shape[0], shape[1], 3), encoding),
        config={},
        seed=0,
        versions={},
        sources=[],
        splits=infos,
        dead_letters={},
        task=FIND,
    )
    (directory / MANIFEST).write_text(manifest.to_json())
    return directory
