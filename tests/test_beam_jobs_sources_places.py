"""Every source from an address: the subsets, digests, annotations and pictures of the same folder on this machine."""

import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_jobs.annotation import Annotation
from beam_jobs.sources import SOURCES, load_source
from beam_jobs.sources.base import Input, SourceOptions
from tfrecords.files.place import Place

OPTIONS = SourceOptions()
NAMES = ["1.png", "caf\u00e9 2#%20.png", "3.png"]
TEXTS = ["12", "07", "3"]
SIZE = (40, 30)
"""Width and height of each picture, pixels."""
Tree = dict[str, bytes]


def _png(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", SIZE, (shade, 9, 0)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = {name: _png(50 * index) for index, name in enumerate(NAMES)}
BOX = (4, 5, 20, 12)
"""Left, top, width and height of each number."""


def _pictures(folder: str) -> Tree:
    return {f"{folder}/{name}": data for name, data in PICTURES.items()}


def _table() -> Tree:
    head = "file_name,text,left,top,width,height,split"
    splits = ["train", "train", "test"]
    rows = [f"photos/{name},{text},4,5,20,12,{split}" for name, text, split in zip(NAMES, TEXTS, splits, strict=True)]
    return {"numbers.csv": "\n".join([head, *rows, "photos/none.png,1,4,5,20,12,test"]).encode(), **_pictures("photos")}


def _hugging_face() -> Tree:
    found: Tree = {}
    for subset in ("train", "test"):
        rows = [json.dumps({"file_name": name, "text": text}) for name, text in zip(NAMES[:2], TEXTS, strict=False)]
        found |= {f"{subset}/metadata.jsonl": "\n".join(rows).encode(), **_pictures(subset)}
    return found


def _parquet() -> Tree:
    images = [{"bytes": data, "path": name} for name, data in PICTURES.items()]
    stream = io.BytesIO()
    pq.write_table(pa.table({"image": images, "text": TEXTS}), stream)
    return {"train-00000-of-00001.parquet": stream.getvalue()}


def _coco() -> Tree:
    images = [{"id": at, "file_name": name, "width": 40, "height": 30} for at, name in enumerate(NAMES)]
    boxes = [
        {"id": 10 * at + place, "image_id": at, "category_id": int(digit) + 1, "bbox": [4 + 9 * place, 5, 8, 12]}
        for at, text in enumerate(TEXTS)
        for place, digit in enumerate(text)
    ]
    categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    return {"annotations/instances_val2017.json": json.dumps(document).encode(), **_pictures("val2017")}


def _yolo() -> Tree:
    config = f"path: .\ntrain: images/train\nval: images/val\nnames: {list('0123456789')}\n"
    found = {"data.yaml": config.encode(), **_pictures("images/train"), **_pictures("images/val")}
    for name, text in zip(NAMES, TEXTS, strict=True):
        lines = "\n".join(f"{digit} {0.2 + 0.3 * place} 0.5 0.2 0.4" for place, digit in enumerate(text))
        found[f"labels/train/{name.removesuffix('.png')}.txt"] = lines.encode()
    return found


def _voc() -> Tree:
    found = _pictures("train")
    for name, text in zip(NAMES, TEXTS, strict=True):
        objects = "".join(
            f"<object><name>{digit}</name><bndbox><xmin>{5 + 9 * at}</xmin><ymin>5</ymin><xmax>{12 + 9 * at}</xmax>"
            "<ymax>20</ymax></bndbox></object>"
            for at, digit in enumerate(text)
        )
        size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
        xml = f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"
        found[f"train/{name.removesuffix('.png')}.xml"] = xml.encode()
    return found


def _voc_kit() -> Tree:
    voc = _voc()
    found = {name.replace("train/", "JPEGImages/"): data for name, data in voc.items() if name.endswith(".png")}
    found |= {name.replace("train/", "Annotations/"): data for name, data in voc.items() if name.endswith(".xml")}
    lists = {"ImageSets/Main/train.txt": b"1\n3\n", "ImageSets/Main/val.txt": "caf\u00e9 2#%20\n".encode()}
    return {f"VOC2012/{name}": data for name, data in {**found, **lists}.items()}


def _cvat() -> Tree:
    images = "".join(
        f'<image id="{at}" name="{name}" width="40" height="30"><box label="number" occluded="0" xtl="4" ytl="5" '
        f'xbr="24" ybr="17" z_order="0"><attribute name="text">{text}</attribute></box></image>'
        for at, (name, text) in enumerate(zip(NAMES, TEXTS, strict=True))
    )
    xml = f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{images}</annotations>'
    return {"annotations.xml": xml.encode(), **_pictures("images")}


def _label_studio() -> Tree:
    tasks = [
        {
            "id": at,
            "data": {"image": f"/data/upload/1/{name}"},
            "annotations": [
                {"result": [_rectangle(at), {**_rectangle(at), "type": "textarea", "value": {"text": [text]}}]}
            ],
        }
        for at, (name, text) in enumerate(zip(["1.png", "3.png"], TEXTS, strict=False))
    ]
    return {"export.json": json.dumps(tasks).encode(), **_pictures("1")}


def _rectangle(at: int) -> dict[str, object]:
    value = {"x": 10, "y": 10, "width": 50, "height": 40, "rotation": 0}
    sizes = {"original_width": 40, "original_height": 30, "image_rotation": 0}
    return {"id": f"r{at}", "type": "rectangle", "from_name": "box", "to_name": "image", "value": value, **sizes}


def _image_folder() -> Tree:
    found = {f"train/{text}/{name}": PICTURES[name] for name, text in zip(NAMES, TEXTS, strict=True)}
    return {**found, "test/7/1.png": PICTURES["1.png"], "test/notes.txt": b"no picture"}


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([7, 0, 3], np.uint8)
DAMAGED = np.array([7, 12, 3], np.uint8)


def _mnist() -> Tree:
    return {
        "raw/train-images-idx3-ubyte": _idx(IMAGES),
        "raw/train-labels-idx1-ubyte": _idx(DAMAGED),
        "raw/t10k-images-idx3-ubyte.gz": gzip.compress(_idx(IMAGES), mtime=0),
        "raw/t10k-labels-idx1-ubyte.gz": gzip.compress(_idx(LABELS), mtime=0),
    }


def _mnist_npz() -> Tree:
    stream = io.BytesIO()
    np.savez(stream, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:1], y_test=LABELS[:1])
    return {"mnist.npz": stream.getvalue()}


def _mnist_csv() -> Tree:
    head = ",".join(f"pixel{at}" for at in range(784))
    rows = [",".join(map(str, picture.ravel().tolist())) for picture in IMAGES]
    labelled = [f"{label},{row}" for label, row in zip(LABELS, rows, strict=True)]
    return {
        "train.csv": "\n".join([f"label,{head}", *labelled, f"x,{rows[0]}", f"1,999{rows[0][1:]}"]).encode(),
        "test.csv": "\n".join([head, *rows]).encode(),
    }


def _optdigits() -> Tree:
    rows = [
        ",".join(map(str, [*(np.arange(64) % count), label])) for label, count in zip(LABELS, (17, 17, 18), strict=True)
    ]
    data = "\n".join(rows).encode()
    return {"optdigits.tra": data, "optdigits.tes.gz": gzip.compress(data, mtime=0)}


TREES: dict[str, Callable[[], Tree]] = {
    "table": _table,
    "table of Hugging Face": _hugging_face,
    "table of Parquet": _parquet,
    "coco": _coco,
    "yolo": _yolo,
    "voc": _voc,
    "voc of the kit": _voc_kit,
    "cvat": _cvat,
    "label-studio": _label_studio,
    "image-folder": _image_folder,
    "mnist": _mnist,
    "mnist of npz": _mnist_npz,
    "mnist of CSV": _mnist_csv,
    "optdigits": _optdigits,
}


def test_every_source_is_here() -> None:
    # svhn has a module of its own.
    assert {name.partition(" ")[0] for name in TREES} | {"svhn"} == set(SOURCES)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Callable[[Tree], tuple[Place, Place]]]:
    """Returns a function that puts a tree into a folder on this machine and into memory."""
    memory = fsspec.filesystem("memory")

    def put(tree: Tree) -> tuple[Place, Place]:
        for name, data in tree.items():
            path = tmp_path / "here" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            memory.pipe_file(f"/bucket/here/{name}", data)
        return Place(tmp_path / "here"), Place("memory://bucket/here")

    yield put
    memory.rm("/bucket", recursive=True)


def read_all(source: str, given: Input) -> tuple[list[object], list[Annotation], list[object]]:
    """Returns what a source makes of an input, with the root of the input left out."""
    reader, root = load_source(source), given.place
    subsets = pickle.loads(pickle.dumps(reader.find_subsets(given, OPTIONS)))
    found: list[object] = [
        (each.name, each.path.removeprefix(str(root)), each.entries, each.annotations_sha256) for each in subsets
    ]
    found.append([path.replace(str(root), "") for path in reader.unread(given, subsets, OPTIONS)])
    annotations: list[Annotation] = []
    pictures: list[object] = []
    for subset in subsets:
        complete = list(reader.read_annotations(subset, 0, subset.entries, "left", OPTIONS))
        halves = [(0, 1), (1, subset.entries)]
        assert complete == [
            each for start, stop in halves for each in reader.read_annotations(subset, start, stop, "left", OPTIONS)
        ]
        annotations += complete
        for each in complete:
            try:
                picture = reader.read_picture(subset, each.name)
            except OSError as error:
                pictures.append(type(error).__name__)
            else:
                files = [place.read_bytes() for place in reader.picture_places(subset, each.name) if place.is_file()]
                assert files[:1] in ([picture], []), "the first place that is there is the picture's"
                assert files or not reader.picture_places(subset, each.name)
                pictures.append(picture if isinstance(picture, bytes) else picture.tolist())
    return found, annotations, pictures


@pytest.mark.parametrize("name", TREES)
def test_a_source_reads_the_same_from_an_address(name: str, places: Callable[[Tree], tuple[Place, Place]]) -> None:
    source = name.partition(" ")[0]
    here, there = places(TREES[name]())
    local, far = (read_all(source, Input(place)) for place in (here, there))
    assert far == local
    assert any(each.dead is None for each in local[1])


@pytest.mark.parametrize("name", ["table", "coco", "voc", "cvat", "label-studio"])
def test_pictures_come_from_the_folder_of_media_root(
    name: str, places: Callable[[Tree], tuple[Place, Place]], tmp_path: Path
) -> None:
    tree = TREES[name]()
    annotations = {file: data for file, data in tree.items() if not file.endswith(".png")}
    for file, data in annotations.items():
        (tmp_path / "labels" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / file).write_bytes(data)
    # One more picture than is annotated.
    media = {"photos/1.png": PICTURES["1.png"], "spare.png": PICTURES["3.png"]} if name == "table" else {}
    found = [
        read_all(name, Input(Place(tmp_path / "labels"), media_root=root))
        for root in places({**PICTURES, **_pictures("1"), **media})
    ]
    assert found[0] == found[1]
    assert PICTURES["1.png"] in found[1][2]
