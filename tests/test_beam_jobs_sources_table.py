"""Tables: what other libraries write and read, every layout, every damage, and rows that contradict each other."""

import gc
import gzip
import io
import json
import pickle
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from beam_jobs.annotation import NO_ANNOTATION, Annotation
from beam_jobs.sources import load_source
from beam_jobs.sources.base import Input, SourceOptions, Subset
from tests.real_data import data_folder
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox

SOURCE = load_source("table")
PLAIN = SourceOptions()
TEXTS = ["0008", "12.50", "7", "-3", "AB 12", "007,5", 'a"b', "five;six"]


def find(path: Path, options: SourceOptions = PLAIN, *wanted: str, media: Path | None = None) -> tuple[Subset, ...]:
    return SOURCE.find_subsets(Input(Place(path), wanted, Place(media) if media else None), options)


def read(
    path: Path, options: SourceOptions = PLAIN, *wanted: str, media: Path | None = None
) -> dict[str, list[Annotation]]:
    """Returns the annotations of each subset, after a check that there is one for each entry, in order."""
    found = {}
    for subset in find(path, options, *wanted, media=media):
        rows = list(SOURCE.read_annotations(subset, 0, subset.entries, "left", options))
        assert [row.index for row in rows] == list(range(subset.entries))
        assert {row.subset for row in rows} == {subset.name}
        found[subset.name] = rows
    return found


def save(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def draw(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (len(name), 0, 0)).save(folder / name)


def reasons(rows: list[Annotation]) -> dict[str, int]:
    return dict(Counter(row.dead.reason for row in rows if row.dead))


def usual(rows: list[Annotation]) -> list[tuple[str, str]]:
    return [(row.name, row.text) for row in rows if not row.dead]


# --- what others write and read ----------------------------------------------------------------


def _frame() -> Any:
    pandas = pytest.importorskip("pandas")
    names = [f"sub dir/{index}%20\u00e9.png" for index in range(len(TEXTS))]
    return pandas.DataFrame({"filename": names, "note": ["x\ny", ""] * 4, "plate_text": TEXTS})


WRITERS: dict[str, Any] = {
    "t.csv": lambda frame, path: frame.to_csv(path, index=False),
    "semicolon.csv": lambda frame, path: frame.to_csv(path, index=False, sep=";", lineterminator="\r\n"),
    "bom.csv": lambda frame, path: frame.to_csv(path, encoding="utf-8-sig"),
    "quoted.csv": lambda frame, path: frame.to_csv(path, index=False, quoting=1),
    "t.tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "t.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "t.json": lambda frame, path: frame.to_json(path, orient="records", indent=2, force_ascii=False),
    "t.parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_pandas_writes_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    frame = _frame()
    WRITERS[name](frame, tmp_path / name)
    (rows,) = read(tmp_path / name).values()
    assert [(row.name, row.text) for row in rows] == list(zip(frame.filename, frame.plate_text, strict=True))
    assert not [row for row in rows if row.dead or row.part or row.box]


@pytest.mark.parametrize(
    ("sep", "quoting", "end"), [(",", 0, "\n"), (";", 1, "\r\n"), ("\t", 0, "\r\n"), (",", 3, "\n"), (";", 3, "\r")]
)
def test_cells_are_those_that_pandas_reads(sep: str, quoting: int, end: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    given = pandas.DataFrame({
        "image": [f"{index}.png" for index in range(40)], "xmin": range(40), "ymin": range(40), "xmax": range(50, 90),
        "ymax": [f"{index}.5" for index in range(60, 100)], "number": [f"{index:04d}" for index in range(40)],
    })  # fmt: skip
    path = tmp_path / "labels.csv"
    given.to_csv(path, index=False, sep=sep, quoting=quoting, lineterminator=end)
    theirs = pandas.read_csv(path, sep=sep, dtype=str, lineterminator="\r" if end == "\r" else None)
    expected = [
        (row.image, row.number, BoundingBox(*(float(x) for x in (row.ymin, row.xmin, row.ymax, row.xmax))))
        for row in theirs.itertuples()
    ]
    assert [(row.name, row.text, row.box) for row in read(path)["train"]] == expected


def _oracle(folder: Path, cache: Path) -> dict[str, list[tuple[bytes, str]]]:
    """Returns pixels and text of each picture as `datasets` reads a folder, by split."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    with warnings.catch_warnings():
        # It leaves its metadata files open.
        warnings.simplefilter("ignore", ResourceWarning)
        found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(cache))
        gc.collect()
    return {
        split: sorted((row["image"].convert("RGB").tobytes(), str(row["text"])) for row in rows)
        for split, rows in found.items()
    }


def _ours(folder: Path) -> dict[str, list[tuple[bytes, str]]]:
    found = {}
    for subset in find(folder):
        rows = SOURCE.read_annotations(subset, 0, subset.entries, "left", PLAIN)
        found[subset.name] = sorted(
            (Image.open(io.BytesIO(bytes(SOURCE.read_picture(subset, row.name)))).convert("RGB").tobytes(), row.text)
            for row in rows
            if row.dead is None or row.dead.reason != NO_ANNOTATION
        )
    return found


@pytest.mark.parametrize("layout", ["metadata.csv", "metadata.jsonl", "metadata.parquet", "folders"])
def test_hugging_face_folders_are_read_as_datasets_reads_them(
    layout: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The texts begin with a letter, since `datasets` makes integers of CSV's numbers."""
    folder = tmp_path_factory.mktemp("set")  # Not tmp_path: `datasets` looks for `test` in every folder's name.
    parts = ("train", "test") if layout == "folders" else ("",)
    texts: dict[str, dict[str, str]] = {}
    for part in parts:
        names = [f"{'ab'[index % 2]}/{'x' * (3 * index + len(part) + 1)}.png" for index in range(4)]
        draw(folder / part, *names)
        texts[part] = {name: f"N{len(name):04d}" for name in reversed(names)}
        rows = list(texts[part].items())
        if layout == "metadata.jsonl":
            lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
            save(folder, layout, "\n".join(lines))
        elif layout == "metadata.parquet":
            pandas = pytest.importorskip("pandas")
            pandas.DataFrame(rows, columns=["file_name", "text"]).to_parquet(folder / layout)
        else:
            content = "".join(f"{name},{text}\n" for name, text in rows)
            save(folder / part, "metadata.csv", f"file_name,text\n{content}")
    assert _ours(folder) == _oracle(folder, tmp_path_factory.mktemp("cache"))
    assert sum(map(len, _ours(folder).values())) == 4 * len(parts)


def test_first_folders_of_a_metadata_file_are_subsets_if_all_are_known(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    draw(folder, "train/more.png", "Val/more.png", "other/more.png")
    path = save(folder, "metadata.csv", "file_name,text\ntrain/a.png,1\nVal\\b.png,2\n")
    found = {name: [row.name for row in rows] for name, rows in read(folder).items()}
    assert found == {"train": ["train/a.png", "other/more.png", "train/more.png"], "val": ["Val/b.png", "Val/more.png"]}
    path.write_text("file_name,text\ntrain/a.png,1\nother/b.png,2\n")
    assert list(read(folder)) == ["train"] and len(read(folder)["train"]) == 5


def test_parquet_with_pictures_inside_is_read_as_datasets_writes_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    draw(tmp_path, *(f"{'p' * index}.png" for index in range(1, 6)))
    paths = [str(tmp_path / f"{'p' * index}.png") for index in range(1, 6)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["zero", "07", "8"])})
    pictures = [{"bytes": Path(path).read_bytes(), "path": Path(path).name} for path in paths]
    made = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 2, 1, 0]}, features=features)
    for index in range(2):
        shard = made.shard(num_shards=2, index=index)
        shard.to_parquet(str(tmp_path / f"data/test-{index:05d}-of-00002.parquet"), batch_size=2)
    (subset,) = find(tmp_path / "data")
    assert (subset.name, subset.entries) == ("test", 5)
    rows = list(SOURCE.read_annotations(subset, 0, 5, "left", PLAIN))
    assert [row.text for row in rows] == ["zero", "07", "8", "07", "zero"] and not reasons(rows)
    for row, path in zip(reversed(rows), reversed(paths), strict=True):
        assert row.name.endswith(Path(path).name)
        assert SOURCE.read_picture(subset, row.name) == Path(path).read_bytes()


def test_genuine_boxes_of_svhn_are_rows_of_a_table(tmp_path: Path) -> None:
    """Each digit of SVHN's test half as a number of its own, against the facts of its README."""
    data = gzip.decompress((data_folder() / "svhn_annotations" / "test.csv.gz").read_bytes())
    path = save(tmp_path, "test.csv", data)
    (rows,) = read(path, SourceOptions(picture_column="name")).values()
    assert len(rows) == 26032 and not reasons(rows)
    assert len({row.key for row in rows}) == 26032 and len({row.name for row in rows}) == 13068
    lengths = Counter(len(row.others) + 1 for row in rows if row.part <= 1)
    assert [lengths[length] for length in range(1, 6)] == [2483, 8356, 2081, 146, 2]
    assert rows[0] == Annotation("test", "1.png", 0, "5", (), None, BoundingBox(7, 43, 37, 62))


# --- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "options", "box"),
    [
        ("FILE_NAME,Text,Left,Top,Width,Height", PLAIN, (2, 1, 6, 4)),
        ("path,label,xmin,ymin,xmax,ymax", PLAIN, (2, 1, 4, 3)),
        ("image,number,x,y,w,h", PLAIN, (2, 1, 6, 4)),
        ("image,number,x1,y1,x2,y2", SourceOptions(box_format="ltwh"), (2, 1, 6, 4)),
        ("image,label,a,b,c,d", SourceOptions(box_columns="b, a,d,c", box_format="ltrb"), (1, 2, 3, 4)),
        ("a,b,c,d,e,f", SourceOptions(picture_column="a", text_column="B"), None),
        ("path,url,c,d,text,f", SourceOptions(picture_column="path", text_column="url"), None),
    ],
)
def test_columns_are_found_by_their_names_or_by_flags(
    header: str, options: SourceOptions, box: tuple[float, ...] | None, tmp_path: Path
) -> None:
    (row,) = read(save(tmp_path, "x.csv", f"{header}\na.png,0042,1,2,3,4\n"), options)["train"]
    assert (row.name, row.text) == ("a.png", "0042")
    assert row.box == (box and BoundingBox(*box))


@pytest.mark.parametrize("cell", ['"[1, 2, 3, 4]"', "1 2 3 4", '"1,2,3,4"', '"(1.0, 2.0, 3.0, 4.0)"', '"[1 2\n 3 4]"'])
def test_one_column_holds_a_box(cell: str, tmp_path: Path) -> None:
    path = save(tmp_path, "x.csv", f"image,text,bbox\na.png,1,{cell}\n")
    (row,) = read(path, SourceOptions(box_format="ltrb"))["train"]
    assert row.box == BoundingBox(2, 1, 4, 3)
    lines = save(tmp_path, "x.jsonl", '{"image": "a.png", "text": 1, "bbox": [1, 2.0, 3, 4]}\n')
    assert read(lines, SourceOptions(box_format="ltrb"))["train"] == [row]


WRONG_COLUMNS = [
    ("image,path,text", PLAIN, "more than one picture column: --picture-column must choose. Its columns: image, path"),
    ("image,text,Label", PLAIN, "more than one text column: --text-column must choose"),
    ("image,text,text", PLAIN, "a name that occurs twice cannot be chosen"),
    ("image,text,split,set", PLAIN, "more than one split column: --split-column must choose"),
    ("image,text,x,y,w,h,bbox", PLAIN, "more than one box column: --box-columns must choose"),
    ("image,text,bbox", PLAIN, "--box-format must say what the numbers of a box mean: ltwh or ltrb. Received: bbox"),
    ("image,words", PLAIN, "must have a text column: text, label, number, plate_text, or --text-column. Received: col"),
    ("picture,text", PLAIN, "must have a picture column: file_name, filename"),
    ("a.png,1", PLAIN, "The first line must hold the columns' names."),
    ("image,text", SourceOptions(text_column="nr"), "has no columns of this name; its columns: image, text. Rec"),
    ("image,nr,nr", SourceOptions(text_column="nr"), "has 2 columns of this name"),
    ("image,text,a", SourceOptions(box_columns="a,a"), "box_columns must name four columns, or one."),
]


@pytest.mark.parametrize(("header", "options", "message"), WRONG_COLUMNS)
def test_columns_that_are_not_clear_are_one_line(
    header: str, options: SourceOptions, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        find(save(tmp_path, "x.csv", f"{header}\n{'1,' * header.count(',')}1\n"), options)
    assert message in str(error.value) and "Received: " in str(error.value) and "\n" not in str(error.value)


# --- damage ------------------------------------------------------------------------------------

WRONG_FILES = [
    ("x.csv", b"", "must not be empty"),
    ("x.csv", b"\n \n", "must not be empty"),
    ("x.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "must be a text file in UTF-8"),
    ("x.csv", "image,text\na,1\n".encode("utf-16"), "must be a text file in UTF-8"),
    ("x.csv", b'image,text\na.png,"1\nb.png,2\n', "a quote is opened and never closed in the record that begins in li"),
    ("x.csv", b'image,text\na.png,"' + b"1" * 140_000, "a quote is opened and never closed in the record that"),
    ("x.csv", b'"image"x,text\na.png,1\n', "the first line must hold the columns' names"),
    ("x.csv", "im\u00e4ge,text\na.png,1\n".encode("latin-1"), "must be UTF-8, also the names of its columns"),
    ("x.csv", b"image,text\n", "must have a row below its header"),
    ("x.csv", b"image,text,split\na.png,1,fold 1\n", "must be of letters, digits"),
    ("x.csv", b"image,text,set\n" + b"".join(b"a.png,1,%d\n" % n for n in range(30)), "at most 20 values"),
    ("x.xlsx", b"PK", "A table must end in one of .csv"),
    ("x.jsonl", b'{"image": "a.png"\n', "must hold a JSON object a line; the first: a line must be JSON"),
    ("x.jsonl", b"1\n2\n", "a line must be a JSON object"),
    ("x.json", b'{\n"images": [],\n"annotations": []\n}', "must hold a JSON object a line"),
    ("x.json", b"[1, 2", "must be JSON"),
    ("x.json", b"[]", "must hold a JSON object a line"),
    ("x.json", b"[" * 100_000, "must be JSON"),
    ("x.parquet", b"PAR1 and nothing PAR1", "must be a Parquet file"),
    ("x.parquet", b"", "must be a Parquet file"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG_FILES)
def test_a_file_that_is_no_table_is_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        find(save(tmp_path, name, content))
    assert message in str(error.value) and str(tmp_path) in str(error.value)
    assert "Received: " in str(error.value) and "\n" not in str(error.value)


def test_columns_of_parquet_that_lose_the_text_are_one_line(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": ["a.png"], "text": [12.5], "label": [True], "count": [3], "bytes": [b"1"]})
    frame.to_parquet(tmp_path / "x.parquet")
    for column, message in [
        ("text", "column text must be of strings or integers: floats have lost zeros at their ends. Store the"),
        ("label", "column label must be of strings or integers. Received: bool"),
    ]:
        with pytest.raises(UserError, match=message):
            find(tmp_path / "x.parquet", SourceOptions(text_column=column))
    with pytest.raises(UserError, match="the column of pictures must hold paths"):
        find(tmp_path / "x.parquet", SourceOptions(picture_column="bytes", text_column="count"))
    (row,) = read(tmp_path / "x.parquet", SourceOptions(text_column="count"))["train"]
    assert row.text == "3"
    damaged = bytearray((tmp_path / "x.parquet").read_bytes())
    damaged[4:40] = bytes(36)
    with pytest.raises(UserError, match="is damaged: it cannot be read"):
        find(save(tmp_path, "y.parquet", bytes(damaged)), SourceOptions(text_column="count"))
    pandas.DataFrame({"image": ["a.png"], "text": ["12-34"]}).to_parquet(tmp_path / "z.parquet", compression=None)
    content = (tmp_path / "z.parquet").read_bytes().replace(b"12-34", b"\xff\x0f-34")
    with pytest.raises(UserError, match="must hold UTF-8"):
        find(save(tmp_path, "z.parquet", content))


def test_a_damaged_row_is_a_dead_letter_with_its_line(tmp_path: Path) -> None:
    lines = [
        b"image,text,x,y,w,h", b"good.png,1,0,0,9,9", b"short.png,2", b"", b"long.png,3,0,0,9,9,9",
        b"latin-\xe9.png,4,0,0,9,9", b"text.png,\xe9,0,0,9,9", b",5,0,0,9,9", b"blank.png, ,0,0,9,9",
        b"box.png,6,0,0,9,", b"words.png,7,0,0,nine,9", b"nan.png,8,0,nan,9,9", b"flat.png,9,0,0,9,0",
        b"fraction.png,1,0.1,0.2,0.3,0.4", b"/etc/passwd,1,0,0,9,9", b"a/../../b.png,1,0,0,9,9", b"C:\\a.png,1,0,0,9,9",
        b"file:///etc/passwd,1,0,0,9,9", b"https://a/b::file:///c,1,0,0,9,9", b"tab\t.png,1,0,0,9,9",
        b"dir\\.\\win dows.png,2,0,0,9,9", b"last.png,3,,,,",
    ]  # fmt: skip
    expected = {
        "ragged_row": 2, "not_utf8": 2, "no_picture": 1, "no_text": 1, "bad_box": 3, "empty_box": 1,
        "relative_box": 1, "bad_path": 6,
    }  # fmt: skip
    plain = save(tmp_path, "x.csv", b"\r\n".join(lines))
    rows = read(plain)["train"]
    assert reasons(rows) == expected
    assert usual(rows) == [("good.png", "1"), ("dir/win dows.png", "2"), ("last.png", "3")]
    numbers = {row.name: row.dead.detail for row in rows if row.dead}
    assert numbers["#2"] == "train/#2: line 3: a row must have 6 cells, as the header has. Received: 2 cells"
    assert numbers["box.png"] == "train/box.png: line 10: a box must be four numbers. Received: ['0', '0', '9', '']"
    assert all(not row.boxes and not row.box and not row.text for row in rows if row.dead)
    assert all(row.dead.detail.isprintable() for row in rows if row.dead)
    # The parser of files with quotes finds the same, and one kind of damage more.
    quoted = save(tmp_path, "q.csv", b"\n".join([*lines, b'"two\nlines.png",1,0,0,9,9', b'"a"b.png,1,0,0,9,9']))
    again = read(quoted)["train"]
    assert again[:-2] == rows
    assert [row.dead.detail for row in again[-2:] if row.dead] == [
        "train/#21: line 23: the path of a picture must have no control characters. Received: 'two\\nlines.png'",
        "train/#22: line 25: text between a closing quote and the next separator. Received: line 25",
    ]


def test_a_damaged_line_of_json_is_a_dead_letter_with_its_line(tmp_path: Path) -> None:
    lines = [
        '{"image": "a.png", "text": 0.50}', '{"image": "b.png", "text": 007}', "[1]", '{"image": "c.png"}', "",
        '{"image": "d.png", "text": true}', '{"image": "e.png", "text": ["1"]}', '{"image": 5, "text": "1"}',
        '{"image": ["f.png"], "text": 1}', '{"image": "g\\u0000.png", "text": 1}',
        '{"image": "h.png", "text": "\\ud800"}',
        '{"image": "i.png", "text": NaN}', '{"text": -12e3, "image": "j.png"}', '{"image": "\\ud800.png", "text": 1}',
    ]  # fmt: skip
    rows = read(save(tmp_path, "x.jsonl", "\r\n".join(lines)))["train"]
    assert usual(rows) == [("a.png", "0.50"), ("5", "1"), ("j.png", "-12e3")]
    assert reasons(rows) == {"damaged": 2, "no_text": 2, "bad_text": 2, "bad_path": 2, "not_utf8": 2}
    assert [row.dead.detail.split(": ")[1] for row in rows if row.dead] == [
        f"line {number}" for number in (2, 3, 4, 6, 7, 9, 10, 11, 12, 14)
    ]


# --- several rows a picture, pictures without a row ------------------------------------------


def test_rows_of_one_picture_are_its_numbers_or_contradict_each_other(tmp_path: Path) -> None:
    lines = [
        "image,text,x,y,w,h",
        *("two.png,1,0,0,5,5", "two.png,2,10,0,5,5", "two.png,2,10,0,5,5", "two.png,,20,0,5,5"),
        *("same.png,1,,,,", "./same.png,1,,,,", "other.png,1,,,,", "other.png,2,,,,", "other.png,1,,,,"),
        *("mixed.png,1,0,0,5,5", "mixed.png,2,,,,", "box.png,1,0,0,5,5", "box.png,2,0,0,5,5"),
    ]
    rows = read(save(tmp_path, "x.csv", "\n".join(lines)))["train"]
    found = [(row.key.partition("/")[2], row.text, row.dead.reason if row.dead else "") for row in rows]
    assert found == [
        ("two.png@1", "1", ""), ("two.png@2", "2", ""), ("two.png@4", "", "duplicate"), ("two.png@3", "", "no_text"),
        ("same.png", "1", ""), ("same.png@2", "", "duplicate"),
        ("other.png@1", "", "conflicting"), ("other.png@2", "", "conflicting"), ("other.png@3", "", "conflicting"),
        ("mixed.png@1", "1", ""), ("mixed.png@2", "", "conflicting"),
        ("box.png@1", "", "conflicting"), ("box.png@2", "", "conflicting"),
    ]  # fmt: skip
    assert rows[0].others == (BoundingBox(0, 10, 5, 15), BoundingBox(0, 20, 5, 25))
    assert rows[6].dead and rows[6].dead.detail == (
        "train/other.png: line 8: the picture has several numbers and no box. Received: '1', '2'"
    )


def test_pictures_that_no_row_names_are_entries_without_annotation(tmp_path: Path) -> None:
    tmp_path /= "set"  # The name of a folder can be that of a subset, as pytest's is here.
    draw(tmp_path, "a.png", "b.JPG", "sub/c.png", "elsewhere/d.png")
    save(tmp_path, "sub/notes.txt", "no picture")
    content = "file_name,text\nb.JPG,1\ngone.png,2\n"
    metadata = save(tmp_path, "metadata.csv", content)
    expected = [("b.JPG", ""), ("gone.png", ""), ("a.png", NO_ANNOTATION), ("elsewhere/d.png", NO_ANNOTATION)]
    expected += [("sub/c.png", NO_ANNOTATION)]
    for path in (tmp_path, metadata):
        (rows,) = read(path).values()
        assert [(row.name, row.dead.reason if row.dead else "") for row in rows] == expected
        assert rows[2].dead and rows[2].dead.detail == "train/a.png: no row names the picture."
    # A table's own folder may hold anything; a media root is a folder of pictures.
    table = save(tmp_path / "lists", "test.csv", content)
    assert len(read(table)["test"]) == 2
    assert [row.name for row in read(table, media=tmp_path)["test"]] == [name for name, _ in expected]
    (subset,) = find(table, media=tmp_path)
    assert SOURCE.read_picture(subset, "b.JPG") == (tmp_path / "b.JPG").read_bytes()
    with pytest.raises(FileNotFoundError):
        SOURCE.read_picture(subset, "gone.png")
    with pytest.raises(UserError, match="media_root must be a folder that exists"):
        find(table, media=tmp_path / "none")


# --- subsets -----------------------------------------------------------------------------------


def test_subsets_are_files_folders_or_the_values_of_a_column(tmp_path: Path) -> None:
    rows = "image,text\na.png,1\n"
    one = save(tmp_path, "one.csv", rows)
    assert list(read(one)) == ["train"] and list(read(one, PLAIN, "Mine")) == ["mine"]
    with pytest.raises(UserError, match="holds the subsets train"):
        find(one, PLAIN, "a", "b")
    split = save(tmp_path, "s.csv", "image,text,Split\na.png,1,Train\nb.png,2,val\nb.png,3,train\nshort\n")
    assert [(name, len(found)) for name, found in read(split).items()] == [("train", 3), ("val", 1)]
    assert reasons(read(split)["train"]) == {"ragged_row": 1}
    assert list(read(split, PLAIN, "VAL")) == ["val"]
    for wanted in ("test", "mine"):
        with pytest.raises(UserError, match="holds the subsets train, val"):
            find(split, PLAIN, wanted)
    only = save(tmp_path, "only.csv", "image,text,split\na.png,1,train\n")
    with pytest.raises(UserError, match="holds the subsets train"):
        find(only, PLAIN, "val")
    for name in ("train_labels.csv", "test.jsonl"):
        save(tmp_path / "files", name, rows if name.endswith("csv") else '{"image": "a.png", "text": "1"}')
    assert list(read(tmp_path / "files")) == ["test", "train"]
    save(tmp_path / "files", "test.jsonl", "damaged")
    assert list(read(tmp_path / "files", PLAIN, "train")) == ["train"]
    save(tmp_path / "files", "train_more.csv", rows)
    with pytest.raises(UserError, match=r"one table a subset.*Both are train: Received: train_labels\.csv, train_more"):
        find(tmp_path / "files")


def test_folders_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("Train", "test", "old"):
        save(tmp_path / name, "metadata.csv", "file_name,text\na.png,1\n")
    save(tmp_path, "labels.csv", "")
    given = Input(Place(tmp_path))
    subsets = SOURCE.find_subsets(given, PLAIN)
    assert [(subset.name, Path(subset.pictures).name) for subset in subsets] == [("train", "Train"), ("test", "test")]
    expected = (str(tmp_path / "labels.csv"), str(tmp_path / "old" / "metadata.csv"))
    assert SOURCE.unread(given, subsets, PLAIN) == expected
    assert list(read(tmp_path, PLAIN, "old")) == ["old"]
    with pytest.raises(UserError, match="--subsets must choose among them"):
        find(tmp_path, PLAIN, "new")
    save(tmp_path / "old", "metadata.jsonl", "{}")
    with pytest.raises(UserError, match="one metadata file"):
        find(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"The input must be a table, or a folder with metadata\.csv"):
        find(tmp_path / "empty")
    with pytest.raises(UserError, match="must be a table or a folder that exists"):
        find(tmp_path / "nothing.csv")


def test_a_metadata_file_may_be_a_link_to_a_digest(tmp_path: Path) -> None:
    """As in the cache of huggingface_hub."""
    blob = save(tmp_path, "blobs/0123abcd", "file_name,text\na.png,1\n")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "metadata.csv").symlink_to(blob)
    for path in (tmp_path / "snapshot", tmp_path / "snapshot" / "metadata.csv"):
        assert usual(read(path)["train"]) == [("a.png", "1")]


# --- ranges ------------------------------------------------------------------------------------


def test_ranges_together_are_the_subset_and_a_changed_table_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"{index % 40}.png,{index},{index},0,5,5,{'ab'[index % 2]}\n" for index in range(60))
    path = save(tmp_path, "x.csv", f"image,text,x,y,w,h,split\n{rows}")
    for subset in find(path):
        pickled = pickle.loads(pickle.dumps(subset))
        parts = [SOURCE.read_annotations(pickled, start, start + 7, "left", PLAIN) for start in range(0, 30, 7)]
        assert [row for part in parts for row in part] == list(SOURCE.read_annotations(subset, 0, 30, "left", PLAIN))
    digest = subset.annotations_sha256
    path.write_text(path.read_text().replace("0.png,0,", "0.png,1,"))
    assert find(path)[0].annotations_sha256 != digest
    with pytest.raises(UserError, match="changed while the job ran"):
        SOURCE.read_annotations(subset, 0, 1, "left", PLAIN)


def test_a_picture_at_an_address_is_read_from_there(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    path = save(tmp_path, "x.csv", "url,text\nhttps://host/a%20b.png?size=1,7\ns3://b/c.png,8\n")
    (subset,) = find(path)
    rows = read(path)["train"]
    assert usual(rows) == [("https://host/a%20b.png?size=1", "7"), ("s3://b/c.png", "8")]
    system = fsspec.filesystem("memory")
    system.pipe_file("/set/metadata.csv", b"file_name,text\nsub/a.png,0012\n")
    system.pipe_file("/set/sub/a.png", b"pixels")
    system.pipe_file("/set/b.png", b"")
    try:
        (subset,) = SOURCE.find_subsets(Input(Place("memory://set")), PLAIN)
        first, second = SOURCE.read_annotations(subset, 0, 2, "left", PLAIN)
        assert (first.name, first.text, subset.entries) == ("sub/a.png", "0012", 2)
        assert second.dead and (second.name, second.dead.reason) == ("b.png", NO_ANNOTATION)
        assert SOURCE.read_picture(subset, first.name) == b"pixels"
    finally:
        system.rm("/set", recursive=True)
