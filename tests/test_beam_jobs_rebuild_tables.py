"""What differs between the rows of two tables of annotations, and between two manifests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from beam_jobs.prepare.annotations_table import SCHEMA
from beam_jobs.rebuild.compare import Comparison, compare_manifests
from beam_jobs.rebuild.tables import COLUMNS, KINDS, Changed, compare_tables, differences
from tfrecords import Manifest
from tfrecords.dataset.manifest import ANNOTATIONS

BOX = {"ymin": 1.0, "xmin": 2.0, "ymax": 9.0, "xmax": 8.5}
OTHER_BOX = {**BOX, "xmax": 9.0}
FIELDS = [SCHEMA.field(name) for name in COLUMNS]


def row(key: str = "train/1.png", **values: Any) -> dict[str, Any]:
    usual = {"index": 0, "text": "47", "boxes": [], "box": BOX, "split": "train", "shard": 0, "source_bytes": 1234}
    more = {"source_crc32c": 0xAB, "source_height": 9, "source_width": 9, "crop_box": BOX}
    return {"key": key, **usual, **more, "stage": None, "reason": None, "detail": None, **values}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=pa.schema(FIELDS))


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        ({"source_bytes": 99}, "changed", "1,234 bytes with CRC-32C 000000ab, now 99 bytes with CRC-32C 000000ab"),
        ({"text": "77"}, "relabelled", "47, now 77"),
        ({"text": None}, "relabelled", "47, now none"),
        ({"box": OTHER_BOX, "crop_box": OTHER_BOX}, "reboxed", "[1, 2, 9, 8.5], now [1, 2, 9, 9]"),
        ({"boxes": [BOX, OTHER_BOX]}, "reboxed", "[1, 2, 9, 8.5], now [1, 2, 9, 8.5] [1, 2, 9, 9]"),
        ({"crop_box": OTHER_BOX}, "recut", "[1, 2, 9, 8.5], now [1, 2, 9, 9]"),
        ({"split": "test", "shard": 3}, "moved", "now test shard 3"),
        ({"index": 4}, "reordered", "0, now 4"),
        (
            {"reason": "missing_picture", "detail": "gone", "split": None, "shard": None, "source_bytes": None},
            "rejected",
            "accepted, now missing_picture (gone)",
        ),
    ],
)
def test_a_row_differs_in_one_kind(values: dict[str, Any], kind: str, text: str) -> None:
    assert differences(row(), row(**values)) == {kind: text}
    found = compare_tables(table(row()), table(row(**values)), 20)
    assert list(found) == [kind] and found[kind].lines == [f"train/1.png (train shard 0): {text}"]


def test_equal_tables_differ_in_nothing_in_whatever_order() -> None:
    rows = [row(f"train/{number}.png") for number in range(5)]
    assert compare_tables(table(*rows), table(*reversed(rows)), 20) == {}


def test_rows_of_one_side_are_removed_and_added_and_move_nothing_else() -> None:
    before = table(row("a", index=0), row("b", index=1), row("c", index=2))
    after = table(row("b", index=0), row("c", index=1), row("d", index=2))
    found = compare_tables(before, after, 20)
    assert {kind: changed.lines for kind, changed in found.items()} == {
        "removed": ["a (train shard 0)"],
        "added": ["d (train shard 0)"],
    }


def test_rows_of_one_key_are_compared_in_their_order_and_only_some_are_listed() -> None:
    twice = [row("a"), row("a", reason="duplicate_key", detail="a", split=None, shard=None)]
    assert compare_tables(table(*twice), table(*twice), 20) == {}
    found = compare_tables(table(*twice, row("b")), table(row("c")), 1)
    assert found["removed"] == Changed(3, ["a (train shard 0)"]) and found["added"].count == 1


def test_manifests_of_one_dataset_are_the_same_also_with_other_versions(records: Path) -> None:
    manifest = Manifest.load(records)
    assert compare_manifests(manifest, manifest, has_table=False) == Comparison()
    others = replace(manifest, versions={**manifest.versions, "numpy": "2.1.0"})
    found = compare_manifests(others, manifest, has_table=False)
    assert found == Comparison(versions=[f"numpy 2.1.0, now {manifest.versions['numpy']}"]) and found.is_same


def test_each_part_of_a_manifest_that_differs_is_a_line(records: Path) -> None:
    manifest = Manifest.load(records)
    train = manifest.splits["train"]
    shard = replace(train.shards[0], sha256="0" * 64)
    other = replace(
        manifest,
        config={**manifest.config, "seed": 4},
        splits={**manifest.splits, "train": replace(train, pictures=1, shards=[shard, *train.shards[1:]])},
        sources=[replace(manifest.sources[0], annotations_sha256="1" * 64), *manifest.sources[1:]],
        dead_letters={"no_box": 2},
    )
    found = compare_manifests(manifest, other, has_table=False)
    assert not found.is_same
    assert found.settings == ["seed 3, now 4"] and found.causes[0] == "setting seed 3, now 4"
    (line,) = found.shards
    assert line.startswith(f"{shard.file} {shard.examples:,} examples in ") and "now" in line
    assert line.endswith("SHA-256 000000000000...")
    assert found.counts[0].startswith(f"train {train.pictures:,} pictures") and found.counts[1:] == [
        "rejected as no_box none, now 2"
    ]
    (line,) = found.sources
    assert line.startswith("train: annotations SHA-256 ") and line.endswith("now SHA-256 111111111111...")


def test_other_bytes_of_the_table_count_only_where_its_rows_are_not_compared(records: Path) -> None:
    manifest = Manifest.load(records)
    other = replace(manifest, files={**manifest.files, ANNOTATIONS: "0" * 64})
    assert compare_manifests(manifest, other, has_table=True).is_same
    assert not compare_manifests(manifest, other, has_table=False).is_same


def test_a_file_that_describes_the_dataset_may_differ_where_versions_do_or_be_new(records: Path) -> None:
    manifest = Manifest.load(records)
    other = replace(manifest, files={**manifest.files, "dataset_info.json": "0" * 64})
    assert not compare_manifests(manifest, other, has_table=True).is_same
    assert compare_manifests(replace(manifest, versions={}), other, has_table=True).is_same
    found = compare_manifests(manifest, replace(manifest, files={**manifest.files, "card.md": "0"}), has_table=True)
    assert found.is_same and found.notes == ["card.md: only the new one has this file"]


def test_only_some_lines_are_printed_and_the_rest_is_counted() -> None:
    found = Comparison(shards=["a", "b", "c"], pictures={"added": Changed(3, ["x"])})
    assert found.lines(2) == [
        f"picture   3 rows {KINDS['added']}",
        "            x",
        "            and 2 more",
        "shard     a",
        "shard     b",
        "shard     and 1 more",
    ]
