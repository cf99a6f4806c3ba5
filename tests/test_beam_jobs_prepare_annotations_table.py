"""annotations.parquet: the columns are those that Arrow makes of the same values, nulls included."""

import pyarrow as pa
import pytest

from beam_jobs.annotation import Annotation, DeadLetter
from beam_jobs.prepare.annotations_table import SCHEMA, rows_with, to_table
from beam_jobs.prepare.load_picture import PictureFile, PictureRow
from tfrecords.images.crop import BoundingBox

BOXES = (BoundingBox(1, 2, 3, 4), BoundingBox(0.5, -1, 9, 1e9))
DEAD = DeadLetter("picture", "too_large", "größer")
GOOD = PictureRow(
    Annotation("train", "é.png", 5, "12", BOXES), "test", 3, PictureFile(9, 2**32 - 1, 7, 8), BoundingBox(0, 1, 2, 3)
)
REJECTED = PictureRow(
    Annotation("extra", "2.png", 6, "", (), None, BoundingBox(4, 3, 2, 1), part=2), "train", 0, None, None, DEAD
)
UNDECODED = PictureRow(Annotation("train", "3.png", 7, "0"), "train", 0, PictureFile(10, 1), None, DEAD)


def _box(box: BoundingBox | None) -> dict[str, float] | None:
    return box and {edge: float(value) for edge, value in box._asdict().items()}


def _plain(row: PictureRow) -> dict[str, object]:
    annotation, file, dead = row.annotation, row.file, row.dead
    return {
        "key": annotation.key,
        "subset": annotation.subset,
        "name": annotation.name,
        "index": annotation.index,
        "text": annotation.text or None,
        "length": len(annotation.text) or None,
        "boxes": [_box(box) for box in annotation.boxes],
        "box": _box(annotation.box),
        "split": None if dead else row.split,
        "shard": None if dead else row.shard,
        "source_bytes": file.bytes if file else None,
        "source_crc32c": file.crc32c if file else None,
        "source_height": file.height if file else None,
        "source_width": file.width if file else None,
        "crop_box": _box(row.crop_box),
        "stage": dead.stage if dead else None,
        "reason": dead.reason if dead else None,
        "detail": dead.detail if dead else None,
    }


@pytest.mark.parametrize("rows", [[], [GOOD], [REJECTED], [GOOD, REJECTED, UNDECODED] * 5])
def test_a_table_is_what_arrow_makes_of_the_same_values(rows: list[PictureRow]) -> None:
    table = to_table(rows)
    table.validate(full=True)
    assert table.equals(pa.Table.from_pylist([_plain(row) for row in rows], schema=SCHEMA))


def test_rows_of_a_subset_are_those_with_its_name_alone() -> None:
    table = pa.concat_tables([to_table([GOOD, REJECTED]), to_table([UNDECODED])])
    assert rows_with(table, "subset", "train").column("index").to_pylist() == [5, 7]
    assert rows_with(table, "subset", "ex").num_rows == 0
