"""python -m tfrecords export, read back with the libraries that it is made for."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tfrecords
from tests.examples import assert_equal_examples, make_example
from tfrecords import DigitExample, Manifest, arrow
from tfrecords.__main__ import COMMANDS
from tfrecords.cards.files import CARDS
from tfrecords.cli import main
from tfrecords.webdataset import sample_name, write_tar

# webdataset and datasets leave the tar files that they read to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*tar:ResourceWarning")
FORMATS = ("parquet", "arrow", "webdataset")
COLUMNS = [
    "key",
    "image",
    "text",
    "length",
    "digits",
    "crop_box",
    "jitter_offset",
    "source_size",
    "boxes",
    "has_digit_boxes",
]


def _export(*arguments: object) -> int:
    return main("tfrecords", "", COMMANDS, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a format."""
    folder = tmp_path_factory.mktemp("exported")
    for kind in FORMATS:
        assert _export(records, "--to", kind, "--output", folder / kind, "--jobs", 1) == 0
    return folder


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with a cache of its own and without progress bars."""
    datasets = pytest.importorskip("datasets")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def _example(row: dict[str, Any]) -> DigitExample:
    """Makes an example of a row of any reader's; its image a PIL picture, a PNG file's bytes, or a struct of them."""
    image = row["image"]
    image = image["bytes"] if isinstance(image, dict) else image
    pixels = np.asarray(Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image)
    example = DigitExample(
        key=row["key"],
        image=pixels.reshape(*pixels.shape[:2], -1),
        boxes=np.array([list(box) for box in row["boxes"]], np.float32),
        length=row["length"],
        has_digit_boxes=row["has_digit_boxes"],
        digits=np.array(row["digits"]),
        crop_box=np.array(row["crop_box"]),
        jitter_offset=np.array(row["jitter_offset"]),
        source_size=np.array(row["source_size"]),
    )
    assert row["text"] == example.text
    return example


def _assert_rows(records: Path, split: str, rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
    ours = list(tfrecords.open(records, split))
    assert len(ours) == Manifest.load(records).split(split).examples > 0
    for example, row in zip(ours, rows, strict=True):
        assert_equal_examples(example, _example(row))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_pandas_reads_every_value_of_parquet_and_arrow(records: Path, exported: Path, split: str) -> None:
    pandas = pytest.importorskip("pandas")

    count = len(Manifest.load(records).split(split).shards)
    for kind, read in (("parquet", pandas.read_parquet), ("arrow", pandas.read_feather)):
        files = sorted((exported / kind / "data").glob(f"{split}-*"))
        assert [path.name for path in files] == [f"{split}-{i:05d}-of-{count:05d}.{kind}" for i in range(count)]
        frame = pandas.concat([read(path) for path in files])
        assert list(frame) == COLUMNS
        _assert_rows(records, split, frame.to_dict("records"))


def test_arrow_files_are_mapped_into_memory_and_not_copied(records: Path, exported: Path) -> None:
    files = sorted((exported / "arrow" / "data").glob("train-*"))
    before = pa.total_allocated_bytes()
    tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in files]
    assert pa.total_allocated_bytes() == before
    _assert_rows(records, "train", pa.concat_tables(tables).to_pylist())


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_hugging_face_finds_splits_and_pictures_by_itself(
    records: Path, exported: Path, hugging_face: Any, kind: str
) -> None:
    folder = str(exported / kind)
    for found in (hugging_face.load_dataset(folder), hugging_face.load_dataset(kind, data_dir=folder)):
        assert list(found) == ["train", "validation", "test"]
        assert isinstance(found["train"].features["image"], hugging_face.Image)
        for split in found:
            _assert_rows(records, split, list(found[split]))
    batch = found["test"].with_format("numpy")[:3]
    assert batch["image"].shape == (3, 54, 54, 3) and batch["image"].dtype == np.uint8
    assert batch["digits"].shape == (3, 5) and batch["boxes"].shape == (3, 5, 4)


def test_hugging_face_takes_files_by_pattern_and_streams_them(records: Path, exported: Path, hugging_face: Any) -> None:
    files = {"train": str(exported / "parquet" / "data" / "train-*.parquet")}
    _assert_rows(records, "train", hugging_face.load_dataset("parquet", data_files=files, split="train"))
    streamed = hugging_face.load_dataset("parquet", data_files=files, split="train", streaming=True)
    _assert_rows(records, "train", iter(streamed))


def test_arrow_tables_without_a_file_are_hugging_face_datasets(records: Path, hugging_face: Any) -> None:
    table = pa.Table.from_batches(arrow.record_batches(tfrecords.open(records, "test")), arrow.SCHEMA)
    _assert_rows(records, "test", list(hugging_face.Dataset(table)))


def test_hugging_face_takes_the_tar_files(records: Path, exported: Path, hugging_face: Any) -> None:
    found = hugging_face.load_dataset(str(exported / "webdataset"))
    assert list(found) == ["train", "validation", "test"]
    for split in found:
        _assert_rows(records, split, [{**row["json"], "image": row["png"]} for row in found[split]])


def test_duckdb_reads_every_column(records: Path, exported: Path) -> None:
    duckdb = pytest.importorskip("duckdb")

    rows = duckdb.sql(f"SELECT * FROM '{exported}/parquet/data/train-*.parquet'")
    assert rows.columns == COLUMNS
    assert str(rows.types[1]) == "STRUCT(bytes BLOB, path VARCHAR)" and str(rows.types[4]) == "BIGINT[]"
    _assert_rows(records, "train", [dict(zip(COLUMNS, row, strict=True)) for row in rows.fetchall()])
    wrong = duckdb.sql("SELECT count(*) FROM rows WHERE array_to_string(digits[1:length], '') != text").fetchone()
    assert wrong == (0,)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_webdataset_reads_every_value(records: Path, exported: Path, split: str) -> None:
    webdataset = pytest.importorskip("webdataset")

    count = len(Manifest.load(records).split(split).shards)
    tars = f"{exported}/webdataset/{split}-{{000000..{count - 1:06d}}}.tar"
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    assert [unquote(sample["__key__"]) for sample in samples] == [sample["json"]["key"] for sample in samples]
    _assert_rows(records, split, [{**sample["json"], "image": sample["png"]} for sample in samples])
    pictures = webdataset.WebDataset(tars, shardshuffle=False).decode("rgb8").to_tuple("png", "json")
    ours = {example.key: example.image for example in tfrecords.open(records, split)}
    for picture, labels in pictures:
        np.testing.assert_array_equal(picture, ours.pop(labels["key"]))
    assert not ours


def test_tar_headers_hold_nothing_of_this_machine(exported: Path) -> None:
    with tarfile.open(exported / "webdataset" / "test-000000.tar") as archive:
        members = archive.getmembers()
    assert [Path(member.name).suffix for member in members[:4]] == [".png", ".json", ".png", ".json"]
    facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, m.type, len(m.pax_headers)) for m in members}
    assert facts == {(0, 0, 0, "", "", 0o644, tarfile.REGTYPE, 0)}


@pytest.mark.parametrize("key", ["train/123.png#2", "a.b/c.d.png#0", "__x__/Zahl é 字.png#10", "../%2E.png#0"])
def test_webdataset_cuts_every_key_where_it_should(key: str, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")

    assert unquote(sample_name(key)) == key
    long = make_example(key.replace("#", "x" * 200 + "#"))
    with (tmp_path / "a.tar").open("wb") as stream:
        assert write_tar([make_example(key), long], stream) == 2
    samples = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode("pil"))
    assert [sample["json"]["key"] for sample in samples] == [key, long.key]
    assert all(set(sample) == {"__key__", "__url__", "__local_path__", "png", "json"} for sample in samples)


def test_webdataset_names_stay_as_they_were() -> None:
    assert sample_name("train/123.png#2") == "train%2F123%2Epng%232"


@pytest.mark.parametrize("kind", FORMATS)
def test_worker_processes_and_a_second_run_make_the_same_bytes(
    records: Path, exported: Path, tmp_path: Path, kind: str
) -> None:
    assert _export(records, "--to", kind, "--output", tmp_path / "again", "--jobs", 2) == 0
    assert _files(tmp_path / "again") == _files(exported / kind)
    shards = sum(len(split.shards) for split in Manifest.load(records).splits.values())
    assert len(_files(exported / kind)) == shards + len(CARDS)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_grey_pictures_and_pictures_of_several_sizes_keep_their_pixels() -> None:
    grey = make_example("train/2.png#0", size=9)
    examples = [make_example(), DigitExample(**{**vars(grey), "image": grey.image[:, :, :1]})]
    (batch,) = arrow.record_batches(examples)
    for example, row in zip(examples, batch.to_pylist(), strict=True):
        assert_equal_examples(example, _example(row))


def test_row_groups_are_bounded_in_rows_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    assert arrow.write_parquet((make_example(f"train/{i}.png#0") for i in range(2300)), stream) == 2300
    metadata = pq.ParquetFile(stream).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1000, 1000, 300]
    monkeypatch.setattr(arrow, "_IMAGE_BYTES", 1)
    assert [batch.num_rows for batch in arrow.record_batches([make_example()] * 3)] == [1, 1, 1]


def test_examples_are_read_no_further_than_a_batch_needs() -> None:
    taken = []

    def examples() -> Iterator[DigitExample]:
        for number in range(5000):
            taken.append(number)
            yield make_example()

    next(arrow.record_batches(examples()))
    assert len(taken) == 1000


def test_chosen_splits_are_written_and_the_last_lines_say_what_and_how_to_go_on(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "folder" / "out"
    options = ("--to", "parquet", "--output", output, "--jobs", 1)
    assert _export(records, *options, "--split", "test,train", "--split", "train") == 0
    assert {path.name.split("-")[0] for path in output.rglob("*.parquet")} == {"train", "test"}
    made, following = capsys.readouterr().out.splitlines()
    train, files = len(tfrecords.open(records, "train")), len(list(output.rglob("*.parquet")))
    size = sum(path.stat().st_size for path in output.rglob("*.parquet")) / 1e6
    splits = f"20 examples of test, {train} examples of train"
    assert made == f"exported {splits} to {output} as parquet: {files} files, {size:.1f} MB"
    assert following == f"Next: datasets.load_dataset('{output}')"


def test_the_next_line_runs_as_it_stands(
    records: Path, tmp_path: Path, hugging_face: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    webdataset = pytest.importorskip("webdataset")

    libraries = {"datasets": hugging_face, "pyarrow": pa, "webdataset": webdataset}
    for kind in FORMATS:
        assert _export(records, "--to", kind, "--output", tmp_path / kind, "--split", "test", "--jobs", 1) == 0
        opened = eval(capsys.readouterr().out.splitlines()[-1].removeprefix("Next: "), libraries)
        assert len(list(opened["test"] if kind == "parquet" else opened["key"] if kind == "arrow" else opened)) == 20


def test_shards_without_examples_become_no_files(records: Path, tmp_path: Path, hugging_face: Any) -> None:
    copy = shutil.copytree(records, tmp_path / "copy")
    content = json.loads((copy / "manifest.json").read_text())
    content["splits"]["validation"] = {"pictures": 0, "examples": 0, "shards": []}
    empty = {"file": "svhn-test.tfrecord-00001-of-00002", "examples": 0, "bytes": 0, "sha256": ""}
    content["splits"]["test"]["shards"].insert(0, empty)
    (copy / "manifest.json").write_text(json.dumps(content))
    for kind in FORMATS:
        assert _export(copy, "--to", kind, "--output", tmp_path / kind, "--jobs", 1) == 0
        found = hugging_face.load_dataset(str(tmp_path / kind))
        assert list(found) == ["train", "test"] and len(found["test"]) == 20
    assert _export(copy, "--to", "parquet", "--output", tmp_path / "none", "--split", "validation") == 1
    assert not (tmp_path / "none").exists()


@pytest.fixture
def damaged(records: Path, tmp_path: Path) -> Path:
    """A copy with a flipped bit in the fourth record of train's last shard."""
    copy = shutil.copytree(records, tmp_path / "damaged")
    shard = copy / Manifest.load(copy).split("train").shards[-1].file
    starts = [int(line.split()[0]) for line in (copy / shard.name.replace("tfrecord", "idx")).read_text().splitlines()]
    data = bytearray(shard.read_bytes())
    data[starts[3] + 1000] ^= 1
    shard.write_bytes(data)
    return copy


@pytest.mark.parametrize(("kind", "jobs"), [("parquet", 1), ("arrow", 1), ("webdataset", 1), ("webdataset", 2)])
def test_a_damaged_record_is_named_and_nothing_is_left(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, jobs: int
) -> None:
    assert _export(damaged, "--to", kind, "--output", tmp_path / "out", "--jobs", jobs) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert Manifest.load(damaged).split("train").shards[-1].file in line and "record 3 at byte " in line
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_damaged_records_are_skipped_and_counted(
    damaged: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    options = ("--to", "parquet", "--on-error", "skip", "--jobs", jobs)
    assert _export(damaged, *options, "--output", tmp_path / "out") == 0
    keys = pq.read_table(sorted((tmp_path / "out" / "data").glob("train-*"))[-1], columns=["key"])["key"].to_pylist()
    expected = [example.key for example in tfrecords.open(records, "train")]
    assert expected[-len(keys) - 1 :] == [*keys[:3], expected[-len(keys) + 2], *keys[3:]]
    assert "; skipped 1 damaged examples\n" in capsys.readouterr().out


def test_only_what_export_wrote_is_replaced(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    output.mkdir()
    options = ("--output", output, "--jobs", 1)
    assert _export(records, "--to", "parquet", *options) == 0
    parquet = _files(output)
    assert _export(records, "--to", "webdataset", *options) == 1
    assert f"--overwrite. Received: {output}\n" in capsys.readouterr().err
    assert _files(output) == parquet
    assert _export(records, "--to", "webdataset", *options, "--overwrite") == 0
    assert {name.suffix for name in _files(output) if name.name not in CARDS} == {".tar"}
    (output / "thesis.txt").write_text("mine")
    assert _export(records, "--to", "parquet", *options, "--overwrite") == 1
    assert "holds other files. Received: thesis.txt\n" in capsys.readouterr().err
    assert (output / "thesis.txt").read_text() == "mine"
    assert _export(records, "--to", "parquet", "--output", records, "--overwrite") == 1
    assert _export(records, "--to", "parquet", "--output", output / "thesis.txt") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "trian"], "has the splits train, validation, test. Received: trian"),
        (["--jobs", "0"], "--jobs must be at least 1. Received: 0"),
    ],
)
def test_wrong_options_are_refused(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert _export(records, "--to", "parquet", "--output", tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == []


def test_export_needs_no_other_library_than_our_own(records: Path, tmp_path: Path) -> None:
    program = f"""
import sys
for name in ("tensorflow", "torch", "duckdb", "datasets", "webdataset", "apache_beam"):
    sys.modules[name] = None  # any import of it now fails
from tfrecords.__main__ import COMMANDS
from tfrecords.cli import main
sys.modules["pyarrow"] = None
tar = ["--to", "webdataset", "--output", {str(tmp_path / "tar")!r}]
assert main("tfrecords", "", COMMANDS, ["export", {str(records)!r}, "--split", "test", *tar]) == 0
del sys.modules["pyarrow"]
parquet = ["--to", "parquet", "--output", {str(tmp_path / "parquet")!r}]
assert main("tfrecords", "", COMMANDS, ["export", {str(records)!r}, "--split", "test", *parquet]) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])
    assert [name.as_posix() for name in _files(tmp_path) if name.name not in CARDS] == [
        "parquet/data/test-00000-of-00001.parquet",
        "tar/test-000000.tar",
    ]


def _files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
