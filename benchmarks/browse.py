"""Measures how fast `tfrecords browse` answers: the first page, a filtered one, and the page of a picture.

    python -m benchmarks.browse --examples 200000
    python -m benchmarks.browse --data svhn-records

Without --data, a dataset is written first: drawn numbers of two digits, 54 x 54 pixels, raw, 8.9 kB each, and a tenth
as many rejected pictures. The command runs in a process of its own, and pages are asked for over HTTP, as a browser
does. "Start" is the time from the command to its line on standard output. The first filtered page waits until all
records were read once; those after it do not. Times of later pages are medians.
"""

import argparse
import hashlib
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from benchmarks.common.table import markdown, verdict
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST, Manifest
from tfrecords.files.framing import frame
from tfrecords.files.index import format_index, index_path
from tfrecords.record.codec import encode
from tfrecords.record.labels import Labels
from tfrecords.record.schema import DigitExample

_SIDE = 54
_PER_SHARD = 4_000
_LABELS = Labels()
_GOAL_S = 1.0
"""Longest time of the first page, from the request."""
_PATIENCE_S = 600.0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="dataset directory; by default one is drawn")
    parser.add_argument("--examples", type=int, default=200_000, help="number of examples to draw")
    parser.add_argument("--keep", type=Path, help="new folder to keep the drawn dataset in")
    parser.add_argument("--pages", type=int, default=20, help="number of pages of each kind")
    return parser


def main() -> int:
    """Prints the times; returns 1 if the first page took too long."""
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.data or args.keep or Path(scratch, "records")
        if args.data is None:
            write_dataset(folder, args.examples)
        times = measure(folder, args.pages)
    rows = [(name, f"{1000 * seconds:,.0f} ms") for name, seconds in times.items()]
    print(markdown(("page", "time"), rows))
    first = times["first page"]
    is_met = first <= _GOAL_S
    print(verdict(is_met, f"first page: {first:.2f} s, at most {_GOAL_S:.0f}"))
    return 0 if is_met else 1


def write_dataset(folder: Path, count: int) -> None:
    """Writes a dataset directory of drawn numbers, each on one of 100 images.

    Args:
      folder: New folder.
      count: Number of examples, all of the split train.
    """
    folder.mkdir(parents=True)
    images = [_draw(f"{number:02d}") for number in range(100)]
    shards = []
    total = -(-count // _PER_SHARD)
    for index in range(total):
        name = f"drawn-train.tfrecord-{index:05d}-of-{total:05d}"
        numbers = range(index * _PER_SHARD, min(count, (index + 1) * _PER_SHARD))
        frames = [frame(encode(_example(number, images))) for number in numbers]
        data = b"".join(frames)
        (folder / name).write_bytes(data)
        Path(index_path(str(folder / name))).write_bytes(format_index(map(len, frames)))
        digest = hashlib.sha256(data).hexdigest()
        shards.append({"file": name, "examples": len(frames), "bytes": len(data), "sha256": digest})
    rejected = count // 10
    _write_annotations(folder / ANNOTATIONS, count, rejected)
    source = {"subset": "train", "pictures": count + rejected, "accepted": count, "rejected": rejected}
    content = {
        "name": "drawn",
        "image": {"shape": (_SIDE, _SIDE, 3), "encoding": "raw"},
        "config": {},
        "seed": 0,
        "versions": {},
        "sources": [{**source, "annotations_sha256": "0" * 64, "pictures_sha256": "0" * 64}],
        "splits": {"train": {"pictures": count, "examples": count, "shards": shards}},
        "dead_letters": {"too_long": rejected} if rejected else {},
        "files": {},
        "labels": {"max_length": _LABELS.max_length, "alphabet": _LABELS.alphabet},
        "schema_version": 2,
    }
    manifest = Manifest.parse(json.dumps(content).encode(), MANIFEST)
    (folder / MANIFEST).write_text(manifest.to_json())


def _draw(text: str) -> np.ndarray:
    picture = Image.new("RGB", (_SIDE, _SIDE), (40 + int(text), 60, 140 - int(text)))
    ImageDraw.Draw(picture).text((6, 8), text, fill=(250, 240, 220), font=ImageFont.load_default(34))
    noise = np.random.default_rng(int(text)).integers(0, 24, (_SIDE, _SIDE, 3), np.uint8)
    return np.asarray(picture) // 2 + 60 + noise


def _example(number: int, images: list[np.ndarray]) -> DigitExample:
    value = number * 37 % 100
    boxes = np.zeros((_LABELS.max_length, 4), np.float32)
    boxes[:2] = (14, 7, 44, 27), (14, 28, 44, 48)
    height = 20 + number % 200
    return DigitExample(
        key=f"train/{number}.png#0",
        image=images[value],
        digits=_LABELS.digits(f"{value:02d}"),
        length=2,
        crop_box=np.array([5, 5, 5 + height, 105]),
        jitter_offset=np.array([0, 0]),
        source_size=np.array([300, 400]),
        boxes=boxes,
    )


def _write_annotations(path: Path, count: int, rejected: int) -> None:
    """Writes a table of the accepted pictures and, after them, the rejected ones."""
    total = count + rejected
    dead = [None] * count
    columns = {
        "key": [f"train/{number}.png" for number in range(total)],
        "text": [f"{number * 37 % 100:02d}" for number in range(count)] + ["1234567"] * rejected,
        "split": ["train"] * count + [None] * rejected,
        "stage": dead + ["annotation"] * rejected,
        "reason": dead + ["too_long"] * rejected,
        "detail": dead + ["A number must have at most 5 characters. Received: '1234567'"] * rejected,
    }
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    pq.write_table(table, path, compression="zstd")


def measure(folder: Path, pages: int) -> dict[str, float]:
    """Returns the time of each kind of page, seconds, of the command in a process of its own.

    Args:
      folder: Dataset directory.
      pages: Number of pages of each kind.
    """
    command = [sys.executable, "-m", "tfrecords", "browse", str(folder), "--port", "0"]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            times = {"start of the command": time.perf_counter() - start}
            port = int(re.findall(r":(\d+)/", line)[0])
            times["first page"] = _get(port, "/")
            times["first filtered page"] = _get(port, "/?text=4&match=prefix")
            for name, urls in _urls(pages):
                times[name] = statistics.median(_get(port, url) for url in urls)
        finally:
            # It writes nothing that could be left incomplete.
            process.kill()
    return times


def _urls(pages: int) -> Iterator[tuple[str, list[str]]]:
    numbers = range(1, pages + 1)
    yield "page in stored order", [f"/?page={7 * number}" for number in numbers]
    yield "filtered page", [f"/?text={number % 10}&match=contains&page={number}" for number in numbers]
    yield "new filter", [f"/?min_height={20 + number}&sort=text" for number in numbers]
    yield "picture", [f"/example?n={97 * number}" for number in numbers]
    yield "filtered picture", [f"/example?n={number}&text=7&match=prefix" for number in numbers]
    yield "rejected pictures", [f"/rejected?page={number}" for number in numbers]


def _get(port: int, url: str) -> float:
    """Returns the time until a page is there, seconds; a page that says that records are being read is asked again."""
    start = time.perf_counter()
    while time.perf_counter() - start < _PATIENCE_S:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        connection.request("GET", url)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status == 200:
            return time.perf_counter() - start
        if answer.status != 503:
            raise RuntimeError(f"{url}: {answer.status} {answer.reason}")
        time.sleep(0.1)
    raise TimeoutError(url)


if __name__ == "__main__":
    sys.exit(main())
