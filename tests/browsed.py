"""What tests of `tfrecords browse` share: a stream of scenes, made in moments, and pages as a browser asks for them."""

import hashlib
import re
from collections.abc import Sequence
from html import unescape
from http import HTTPStatus
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.pages import Page
from tests.scene_records import draw_scene, write_scenes
from tfrecords.browse.router import Router
from tfrecords.browse.source_folder import SourceFolder
from tfrecords.browse.stock import Stock
from tfrecords.dataset.manifest import MANIFEST
from tfrecords.dataset.snapshots import Part, Snapshot, Total, flatten, snapshot_place
from tfrecords.files.place import Place


class Site:
    """The pages of a dataset, as the server answers."""

    def __init__(self, directory: Path, sources: Path | None = None, suspects: Path | None = None) -> None:
        stock = Stock(Place(directory), None, Place(suspects) if suspects else None)
        self.router = Router(stock, SourceFolder(sources) if sources else None)
        stock.shown.scan.result(None)

    def get(self, target: str, status: HTTPStatus = HTTPStatus.OK) -> str:
        """Returns a page, which must have this status, and whose elements are closed in order."""
        found, page = self.router.answer(target)
        assert found == status, page[page.index("<main>") :]
        Page(page)
        return page

    def keys(self, target: str) -> list[str]:
        """Returns the keys of the examples of a page."""
        found = re.findall(r'class="key">([^<,]+)', self.get(target))
        return [unescape(key) for key in found]

    def refused(self, target: str) -> str:
        """Returns the sentence by which a page is refused."""
        page = self.get(target, HTTPStatus.BAD_REQUEST)
        return unescape(re.findall(r'class="absent">(.*?)</p>', page)[0])


def write_suspects(path: Path, rows: Sequence[tuple[str, str, float, str | None, str | None, str | None]]) -> Path:
    """Writes a file of suspicions, as an audit does."""
    names = ("key", "kind", "score", "given", "suggested", "evidence")
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    return path


def write_stream(folder: Path) -> Path:
    """Writes a stream of two snapshots, 0 and 4: the second one adds two scenes and changes a number."""
    (folder / "generations").mkdir(parents=True)
    (folder / "snapshots").mkdir()
    (folder / "stream.json").write_text("{}")
    first = {"train": [draw_scene("train/a.png"), draw_scene("train/b.png", ("305",))]}
    second = {"train": [draw_scene("train/a.png", ("19", "8")), first["train"][1]]}
    third = {"train": [draw_scene("train/c.png", ("4",))], "test": [draw_scene("test/d.png")]}
    for number, generations in ((0, {"00000000": first}), (4, {"00000000.00000004": second, "00000004": third})):
        parts = []
        for name, scenes in generations.items():
            written = write_scenes(folder / "generations" / name, scenes, shards=1)
            digest = hashlib.sha256((written / MANIFEST).read_bytes()).hexdigest()
            parts.append(Part(f"generations/{name}", digest))
        totals = {"train": Total(3, 2)} if number == 0 else {"train": Total(4, 3), "test": Total(2, 1)}
        snapshot = Snapshot(number, parts, totals, {}, len(parts))
        snapshot_place(Place(folder), number).path.write_bytes(snapshot.to_json())
        (folder / MANIFEST).write_text(flatten(Place(folder), snapshot).to_json())
    return folder
