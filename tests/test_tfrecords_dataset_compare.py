"""`diff`: every kind of change between two datasets is found and named, and nothing else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfrecords
from tests.stores import Bucket
from tests.streams import Grown
from tests.test_tfrecords_commands_streams import grown as grown
from tfrecords import DigitExample, Manifest, encode
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
from tfrecords.dataset import compare as module
from tfrecords.dataset.compare import CHANGES, Difference, State, compare
from tfrecords.dataset.manifest import ANNOTATIONS, MANIFEST
from tfrecords.files.framing import frame
from tfrecords.files.index import format_index, index_path
from tfrecords.files.shards import file_sha256

Change = Callable[[DigitExample], DigitExample | None]


@pytest.fixture
def copy(grown: Grown, tmp_path: Path) -> Path:
    """A copy of the directory of the first batch."""
    return Path(shutil.copytree(grown.folder / "generations" / "00000000", tmp_path / "copy"))


def _compare(before: object, after: object, *snapshots: int | None) -> Difference:
    first, second = snapshots or (None, None)
    return compare(State.open(str(before), first), State.open(str(after), second))


def _counts(found: Difference) -> dict[str, int]:
    assert list(found.changes) == list(CHANGES)
    return {kind: change.count for kind, change in found.changes.items() if change.count}


def _numbers(directory: Path, split: str) -> list[str]:
    return list(dict.fromkeys(example.key.rpartition("#")[0] for example in tfrecords.open(directory, split)))


def _rewrite(directory: Path, change: Change, encoding: str = "raw") -> None:
    """Rewrites the records of a dataset, and what its manifest states of them."""
    manifest = Manifest.load(directory)
    content = json.loads((directory / MANIFEST).read_text())
    for name, info in manifest.splits.items():
        for index, shard in enumerate(info.shards):
            path = directory / shard.file
            part = [change(one) for one in tfrecords.open(directory, name, manifest=manifest)]
            framed = [frame(encode(one, encoding)) for one in part if one is not None]
            assert len(info.shards) == 1
            path.write_bytes(b"".join(framed))
            Path(index_path(str(path))).write_bytes(format_index(map(len, framed)))
            stated = {"examples": len(framed), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
            content["splits"][name]["shards"][index].update(stated)
            content["splits"][name]["examples"] = len(framed)
    (directory / MANIFEST).write_text(json.dumps(content))


def _change_rows(directory: Path, change: Callable[[list[dict]], None]) -> None:
    """Changes the rows of a dataset's annotations.parquet, and the manifest, which states its digest."""
    table = pq.read_table(directory / ANNOTATIONS)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, table.schema), directory / ANNOTATIONS)
    content = json.loads((directory / MANIFEST).read_text())
    content["files"][ANNOTATIONS] = file_sha256(directory / ANNOTATIONS)
    (directory / MANIFEST).write_text(json.dumps(content))


def test_a_snapshot_and_its_compacted_form_are_equal_and_their_records_are_never_decoded(
    grown: Grown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "decode", lambda *_: pytest.fail("decoded"))
    found = _compare(grown.folder, grown.folder, 3, 4)
    assert found.is_equal and _counts(found) == {}
    assert found.examples["train"][0] == found.examples["train"][1] > 100


def test_directories_that_both_have_are_not_looked_at(grown: Grown, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    records = module.Shard.records

    def look(shard: module.Shard) -> object:
        looked.append(str(shard.place))
        return records(shard)

    monkeypatch.setattr(module.Shard, "records", look)
    found = _compare(grown.folder, grown.folder, 0, 1)
    tuesday = [
        key for split in ("train", "validation") for key in _numbers(grown.folder / "generations/00000001", split)
    ]
    assert _counts(found) == {"added": len(tuesday)} and found.changes["added"].keys == sorted(tuesday)[:20]
    assert looked and all("generations/00000001" in path for path in looked)
    looked.clear()
    assert _compare(grown.folder, grown.folder).is_equal and _compare(grown.folder, grown.folder, 1, 1).is_equal
    assert looked == []
    assert _counts(_compare(grown.folder, grown.folder, 1, 0)) == {"removed": len(tuesday)}


def test_the_same_records_in_other_shards_and_order_are_equal(grown: Grown, tmp_path: Path) -> None:
    batches = [subset for each in ("00000000", "00000001") for subset in grown.subsets[f"generations/{each}"]]
    other = Grown(tmp_path / "other", examples_per_shard=10)
    other.add(0, *batches)
    assert len(Manifest.load(other.folder).splits["train"].shards) > 5
    assert _compare(grown.folder, other.folder, 1, None).is_equal


@pytest.mark.parametrize("batch", [1, 100_000])
def test_other_bytes_of_the_same_examples_are_reencoded(
    grown: Grown, copy: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(module, "_BATCH", batch)
    original = grown.folder / "generations" / "00000000"
    _rewrite(copy, lambda example: example, "png")
    numbers = sum(len(_numbers(original, split)) for split in ("train", "validation"))
    assert _counts(_compare(original, copy)) == {"reencoded": numbers}


def test_one_number_of_each_kind_is_named(grown: Grown, copy: Path) -> None:
    original = grown.folder / "generations" / "00000000"
    cut, drawn, label, gone, lost_jitter, boxed = _numbers(original, "train")[:6]

    def change(example: DigitExample) -> DigitExample | None:
        number, _, jitter = example.key.rpartition("#")
        if number == cut and jitter == "3":
            return replace(example, jitter_offset=example.jitter_offset + 1)
        if number == drawn and jitter == "0":
            return replace(example, image=255 - example.image)
        if number == boxed:
            return replace(example, boxes=example.boxes + np.float32(example.boxes > 0))
        if number == label:
            return replace(example, digits=np.array([7, 10, 10, 10, 10]), length=1)
        if number == gone or (number == lost_jitter and jitter == "4"):
            return None
        return example

    def relabel(rows: list[dict]) -> None:
        for row in rows:
            if row["key"] == label:
                row["text"] = "7"
            if row["key"] == gone:
                row["reason"], row["split"] = "deleted", None

    _rewrite(copy, change)
    _change_rows(copy, relabel)
    found = _compare(original, copy)
    keys = {kind: change.keys for kind, change in found.changes.items() if change.count}
    assert keys == {
        "removed": [gone],
        "relabelled": [label],
        "recut": sorted([cut, lost_jitter]),
        "redrawn": sorted([drawn, boxed]),
    }
    keys = {kind: change.keys for kind, change in _compare(copy, original).changes.items() if change.count}
    assert keys["added"] == [gone] and "removed" not in keys


def test_a_number_in_another_split_is_moved_and_nothing_else(grown: Grown, tmp_path: Path) -> None:
    (batch,) = grown.subsets["generations/00000000"]
    other = Grown(tmp_path / "other", validation_fraction=0.9)
    other.add(0, batch)
    found = _compare(grown.folder, other.folder, 0, None)
    assert set(_counts(found)) == {"moved"} and found.examples["train"][0] > found.examples["train"][1]
    assert set(found.changes["moved"].keys) <= set(_numbers(other.folder, "validation"))


def test_other_crops_are_recut(grown: Grown, tmp_path: Path) -> None:
    (batch,) = grown.subsets["generations/00000000"]
    other = Grown(tmp_path / "other", seed=0)
    other.stream = replace(
        other.stream, config=replace(other.stream.config, crop=replace(other.stream.config.crop, growth=0.5))
    )
    other.add(0, batch)
    counts = _counts(_compare(grown.folder, other.folder, 0, None))
    assert set(counts) == {"recut"} and counts["recut"] >= 10


def test_a_damaged_or_missing_file_is_named(grown: Grown, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = str(grown.folder / "generations" / "00000000")
    _rewrite(copy, lambda example: example, "png")
    shard = copy / Manifest.load(copy).splits["train"].shards[0].file
    data = shard.read_bytes()
    for damaged, said in (
        (data[:-5], "the file ends inside a record"),
        (data[:20000] + b"x" + data[20001:], "checksum is wrong"),
        (b"", "must have"),
    ):
        shard.write_bytes(damaged)
        assert main("tfrecords", "", COMMANDS, ["diff", original, str(copy)]) == 2
        assert said in capsys.readouterr().err
    shard.write_bytes(data)
    (copy / ANNOTATIONS).write_bytes(b"no table")
    assert main("tfrecords", "", COMMANDS, ["diff", original, str(copy)]) == 2
    assert "must be a Parquet file" in capsys.readouterr().err
    (copy / ANNOTATIONS).unlink()
    assert main("tfrecords", "", COMMANDS, ["diff", original, str(copy)]) == 2
    assert "there must be a table of the numbers" in capsys.readouterr().err
    shard.unlink()


def test_the_command_prints_counts_and_keys_and_says_by_its_exit_code_whether_they_differ(
    grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = str(grown.folder)

    def diff(*arguments: str) -> tuple[int, str]:
        code = main("tfrecords", "", COMMANDS, ["diff", *arguments])
        return code, capsys.readouterr().out

    code, out = diff(f"{stream}@3", f"{stream}@4")
    assert code == 0 and out.endswith("equal: both hold the same examples\n")
    code, out = diff(f"{stream}@0", stream, "--limit", "2")
    added = sum(info.pictures for info in Manifest.load(stream).splits.values()) - 12
    assert code == 1 and f"\n{added} numbers added\n  tue/" in out and f"  and {added - 2} more\n" in out
    code, out = diff(f"{stream}@0", stream, "--json", "--limit", "1")
    content = json.loads(out)
    assert code == 1 and content["equal"] is False and content["added"]["count"] == added
    assert len(content["added"]["keys"]) == 1 and content["examples"]["train"]["a"] < content["examples"]["train"]["b"]
    assert diff(f"{stream}@2", stream)[0] == 2 and diff(str(tmp_path), stream)[0] == 2
    # A directory may have an @ in its name.
    shutil.copytree(grown.folder / "generations" / "00000000", tmp_path / "records@1")
    assert diff(f"{stream}@0", str(tmp_path / "records@1"))[0] == 0


def test_a_stream_in_a_store_is_compared_with_one_on_this_machine(grown: Grown, bucket: Bucket) -> None:
    bucket.put_folder(grown.folder, "stream")
    address = f"{bucket.address}/stream"
    assert _compare(address, grown.folder).is_equal
    assert _compare(address, grown.folder, 3, 4).is_equal
    assert set(_counts(_compare(address, grown.folder, 0, 4))) == {"added"}


def test_what_is_kept_of_a_number_is_below_a_hundred_bytes() -> None:
    count = 50_000
    table = pa.table(
        {"key": [f"b/{n:06}.png" for n in range(count)], "text": ["12"] * count, "split": ["train"] * count}
    )
    before = pa.total_allocated_bytes()
    numbers = module._Numbers(table, table)
    held = numbers._sums.nbytes + numbers._touched.nbytes + pa.total_allocated_bytes() - before
    assert held < 100 * count
    assert not numbers.change("added", 3).count and not numbers.change("relabelled", 3).count
