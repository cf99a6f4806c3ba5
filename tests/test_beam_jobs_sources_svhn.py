"""digitStruct.mat: real entries against SVHN's numbers, every layout and every damage against plain h5py."""

import csv
import gc
import gzip
import math
from collections.abc import Callable, Generator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from beam_jobs.annotation import Annotation
from beam_jobs.sources.hdf5 import bulk as hdf5_bulk
from beam_jobs.sources.svhn import digit_struct
from beam_jobs.sources.svhn.digit_struct import FIELDS, FILE_NAME, count_entries, read_annotations
from tests.digit_structs import Entry, Row, Saver, codes, columns_of, only_h5py, save, save_as_matlab
from tests.real_data import data_folder
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox

ENTRIES: list[Entry] = [
    ("1.png", [(1, 246, 77, 81, 219), (9, 323, 81, 96, 219)]),
    ("2.png", [(10, 5, 6, 7, 8)]),
    ("13068.png", [(label, 10 * label, 2, 9, 20) for label in (1, 2, 3, 4, 10)]),
    ("4.png", [(5, -1, 0.5, 7.25, 8)]),
    ("5.png", [(7, 60, 1, 9, 9), (8, 40, 2, 9, 9), (9, 40, 3, 9, 9)]),
]
OUT_OF_ORDER = {
    "train": ["262.png", "10855.png", "16278.png", "18702.png", "19970.png"],
    "test": ["7314.png", "10036.png", "12100.png"],
}


# --- readings ----------------------------------------------------------------------------------


def expected(subset: str, entries: list[Entry]) -> list[Annotation]:
    """What entries in the order stored are to become."""
    return [
        Annotation(
            subset,
            name,
            index,
            "".join(str(int(label) % 10) for label, *_ in rows),
            tuple(BoundingBox(top, left, top + height, left + width) for _, left, top, width, height in rows),
        )
        for index, (name, rows) in enumerate(entries)
    ]


def read_as_usual(path: Path, start: int, stop: int) -> list[Entry]:
    """Entries by h5py's high-level interface alone, as the published readers do it."""
    entries = []
    with h5py.File(path) as file:
        names, boxes = (file[f"digitStruct/{column}"][start:stop, 0] for column in ("name", "bbox"))
        for name, bbox in zip(names, boxes, strict=True):
            fields = [file[bbox][field][()].ravel() for field in FIELDS]
            rows = zip(
                *([file[v][0, 0] if isinstance(v, h5py.Reference) else v for v in f] for f in fields), strict=True
            )
            entries.append(("".join(map(chr, file[name][()].ravel())), [tuple(map(float, row)) for row in rows]))
    return entries


@cache
def published(subset: str) -> dict[str, list[Row]]:
    """All boxes of a subset by its pictures' names, in the order stored."""
    rows: dict[str, list[Row]] = {}
    with gzip.open(data_folder() / "svhn_annotations" / f"{subset}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["name"], []).append(tuple(float(row[field]) for field in FIELDS))
    return rows


def read_all(path: Path, subset: str = "train", digit_order: str = "stored") -> list[Annotation]:
    return list(read_annotations(path, subset, 0, count_entries(path), digit_order))


@pytest.fixture
def no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where an entry is read through h5py."""

    def refuse(*args: object) -> None:
        raise AssertionError(f"an entry was not read in bulk: {args}")

    monkeypatch.setattr(digit_struct, "read_entry", refuse)


@pytest.fixture(params=["in bulk", "through h5py"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "through h5py":
        only_h5py(monkeypatch)


# --- real files --------------------------------------------------------------------------------


@pytest.mark.parametrize(("subset", "count"), [("train", 39), ("test", 40)])
@pytest.mark.usefixtures("no_fallback")
def test_the_real_entries_are_the_first_published_ones(subset: str, count: int) -> None:
    path = data_folder() / "svhn_sample" / subset / FILE_NAME
    assert count_entries(path) == count
    assert read_all(path, subset) == expected(subset, list(islice(published(subset).items(), count)))


@pytest.mark.usefixtures("no_fallback")
def test_the_real_entries_of_extra_are_what_h5py_reads() -> None:
    path = data_folder() / "svhn_sample" / "extra" / FILE_NAME
    assert count_entries(path) == 40
    assert read_all(path, "extra") == expected("extra", read_as_usual(path, 0, 40))


@pytest.mark.usefixtures("no_fallback")
def test_the_photos_are_read_in_bulk_with_their_published_boxes() -> None:
    boxes = published("test")
    found = read_all(data_folder() / "svhn_photos" / FILE_NAME, "test")
    assert len(found) == 4000
    assert found == expected("test", [(annotation.name, boxes[annotation.name]) for annotation in found])


@pytest.mark.parametrize("subset", sorted(OUT_OF_ORDER))
@pytest.mark.usefixtures("both_ways")
def test_the_known_pictures_stored_out_of_order_are_put_in_order_from_the_left(subset: str, tmp_path: Path) -> None:
    boxes = published(subset)
    entries = [(name, boxes[name]) for name in OUT_OF_ORDER[subset]]
    path = save_as_matlab(tmp_path / FILE_NAME, entries)
    assert read_all(path) == expected("train", entries)
    in_order = [(name, sorted(rows, key=lambda row: row[1])) for name, rows in entries]
    assert all(ours != theirs for ours, theirs in zip(in_order, entries, strict=True))
    assert read_all(path, digit_order="left") == expected("train", in_order)


# --- layouts -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("both_ways")
def test_digits_come_from_the_left_with_ties_as_stored_or_all_as_stored(tmp_path: Path) -> None:
    path = save_as_matlab(tmp_path / FILE_NAME, [ENTRIES[4]])
    (left,), (stored,) = read_all(path, digit_order="left"), read_all(path, digit_order="stored")
    assert (left.text, stored.text) == ("897", "789")
    assert [box.ymin for box in left.boxes] == [2, 3, 1]
    assert left.boxes[0] == BoundingBox(2, 40, 11, 49)
    assert next(read_annotations(path, "train", 0, 1)) == left


@pytest.mark.usefixtures("no_fallback")
def test_all_kinds_of_compact_entries_are_read_in_bulk(tmp_path: Path) -> None:
    earliest = {"libver": "earliest", "userblock_size": 512}
    for number, how in enumerate([{}, {"row": True}, {"one_as_reference": True}]):
        path = save(tmp_path / f"{number}.mat", ENTRIES, how, **earliest)
        assert read_all(path) == expected("train", ENTRIES), how


LAYOUTS = {
    "contiguous, as h5py saves": ({"layout": "contiguous"}, {}),
    "chunked": ({"layout": "chunked"}, {}),
    "compressed": ({"layout": "gzip"}, {}),
    "compact, without a user block": ({}, {}),
    "compact, with a user block of 1024 bytes": ({}, {"userblock_size": 1024}),
    "compact, of HDF5's newest version": ({}, {"libver": "latest", "userblock_size": 512}),
    "contiguous, of HDF5's newest version": ({"layout": "contiguous"}, {"libver": "latest"}),
    "rows instead of columns": ({"layout": "contiguous", "row": True}, {}),
    "single digits behind references": ({"layout": "contiguous", "one_as_reference": True}, {}),
}


@pytest.mark.parametrize(("how", "options"), LAYOUTS.values(), ids=LAYOUTS)
def test_files_of_other_layouts_read_equal(how: dict[str, Any], options: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / FILE_NAME, ENTRIES, how, **options)
    assert count_entries(path) == 5
    assert read_all(path) == expected("train", ENTRIES)
    assert [a.name for a in read_annotations(path, "train", 1, 3)] == ["2.png", "13068.png"]


def test_numbers_of_other_types_read_equal(tmp_path: Path) -> None:
    with h5py.File(tmp_path / FILE_NAME, "w") as file:
        saver = Saver(file)
        group = file.create_group("box")
        for field, dtype in zip(FIELDS, ["u1", "<i2", ">f4", "<u8", ">f8"], strict=True):
            saver.array(group, field, [3], dtype)
        saver.finish([saver.name(codes("1.png"), np.uint8)], [group.ref])
    assert read_all(tmp_path / FILE_NAME) == expected("train", [("1.png", [(3, 3, 3, 3, 3)])])


@pytest.mark.usefixtures("both_ways")
def test_ranges_and_small_batches_give_what_one_reading_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_as_matlab(
        tmp_path / FILE_NAME, [(f"{n}.png", [(1 + n % 10, n, 2, 3, 4)] * (1 + n % 4)) for n in range(50)]
    )
    whole = read_all(path)
    assert [annotation.index for annotation in whole] == list(range(50))
    monkeypatch.setattr(digit_struct, "_BATCH", 7)
    parts = [read_annotations(path, "train", start, start + 13, "stored") for start in range(0, 50, 13)]
    assert [annotation for part in parts for annotation in part] == whole
    assert list(read_annotations(path, "train", 50, 60)) == []


def test_objects_beyond_the_known_templates_read_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_bulk, "_MAX_TEMPLATES", 1)
    assert read_all(save_as_matlab(tmp_path / FILE_NAME, ENTRIES[:3])) == expected("train", ENTRIES[:3])


def test_a_reading_that_is_given_up_closes_the_file(tmp_path: Path) -> None:
    path = save_as_matlab(tmp_path / FILE_NAME, ENTRIES[:3])
    reading = read_annotations(path, "train", 0, 3)
    assert isinstance(reading, Generator)
    next(reading)
    reading.close()
    gc.collect()
    with h5py.File(path, "r+"):  # HDF5 would not open a file to write that it still has open to read
        pass


# --- rejected entries --------------------------------------------------------------------------

BOX = (1.0, 2.0, 3.0, 4.0, 5.0)
ENTRY, KEY = "digitStruct.mat: entry 1: ", "train/1.png: "
PLAIN_NAME, WHOLE = "A picture's name must be a plain file name. Received: ", "The entry must be whole. Received: "
LABEL, FINITE = "A label must be 0..10. Received: ", "A box must be finite. Received: "
EMPTY = "A box must have width and height above 0. Received: "


def one_box(**fields: float) -> dict[str, list[float]]:
    return columns_of([BOX]) | {field: [value] for field, value in fields.items()}


BAD_NAMES = {
    "that leads up": "../1.png",
    "with a folder": "a/1.png",
    "with a Windows folder": "a\\1.png",
    "with a Windows drive": "C:1.png",
    "with a zero inside": "1\0.png",
    "of blanks": "   ",
    "that is the folder above": "..",
    "of two lines": "1\n2.png",
    "with the first half of a letter": "\ud83d.png",
    "with the second half of a letter": "1\ude00",
}
REJECTED: dict[str, tuple[str, dict[str, list[float]], str, str]] = {
    **{f"a name {how}": (name, one_box(), "bad_name", f"{PLAIN_NAME}{name!r}") for how, name in BAD_NAMES.items()},
    "no digits": ("1.png", {field: [] for field in FIELDS}, "no_digits", "A picture must have at least one digit. "),
    "uneven fields": (
        "1.png",
        columns_of([BOX, BOX]) | {"top": [1.0]},
        "uneven_fields",
        "Every field must have a value for each digit. "
        "Received: {'label': 2, 'left': 2, 'top': 1, 'width': 2, 'height': 2}",
    ),
    "a label of 11": ("1.png", one_box(label=11), "bad_label", f"{LABEL}11.0"),
    "a label below 0": ("1.png", one_box(label=-1), "bad_label", f"{LABEL}-1.0"),
    "a label between digits": ("1.png", one_box(label=1.5), "bad_label", f"{LABEL}1.5"),
    "a label that is no number": ("1.png", one_box(label=math.nan), "bad_label", f"{LABEL}nan"),
    "an edge that is no number": ("1.png", one_box(left=math.nan), "bad_box", f"{FINITE}[nan, 3.0"),
    "an edge without end": ("1.png", one_box(top=-math.inf), "bad_box", f"{FINITE}[2.0, -inf"),
    "an edge too far": (
        "1.png",
        one_box(left=-1e9),
        "bad_box",
        "A box's numbers must be below 1e+09. Received: [-1000",
    ),
    "no width": ("1.png", one_box(width=0), "empty_box", f"{EMPTY}[2.0, 3.0, 0.0, 5.0]"),
    "height below 0": ("1.png", one_box(height=-5), "empty_box", f"{EMPTY}[2.0, 3.0, 4.0, -5.0]"),
    "a field missing": (
        "1.png",
        {field: [1.0] for field in FIELDS[1:]},
        "wrong_fields",
        "A bbox must have the fields label, left, top, width, height. Received: height, left, top, width",
    ),
}


@pytest.mark.parametrize(("name", "fields", "reason", "text"), REJECTED.values(), ids=REJECTED)
@pytest.mark.usefixtures("both_ways")
def test_an_entry_is_rejected_with_reason_and_rule(
    name: str, fields: dict[str, list[float]], reason: str, text: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / FILE_NAME, "w", libver="earliest", userblock_size=512) as file:
        saver = Saver(file)
        saver.finish([saver.name(codes(name)), saver.name(codes("2.png"))], [saver.bbox(fields), saver.bbox(one_box())])
    rejected, good = read_all(tmp_path / FILE_NAME)
    assert rejected.dead is not None
    assert (rejected.dead.stage, rejected.dead.reason) == ("annotation", reason)
    assert rejected.dead.detail.startswith((ENTRY if reason == "bad_name" else KEY) + text)
    assert " Received: " in rejected.dead.detail and rejected.dead.detail.isprintable()
    assert rejected.name == ("#1" if reason == "bad_name" else "1.png")
    assert good == Annotation("train", "2.png", 1, "1", (BoundingBox(3, 2, 8, 6),))


def test_a_number_too_long_keeps_its_digits(tmp_path: Path) -> None:
    path = save_as_matlab(tmp_path / FILE_NAME, [("29930.png", [(d, d, 1, 1, 1) for d in (1, 3, 4, 5, 8, 10)])])
    assert read_all(path)[0].text == "134580"


@pytest.mark.usefixtures("both_ways")
def test_names_beyond_ascii_are_read(tmp_path: Path) -> None:
    names = ["日本 1.png", "Straße.png", "\N{GRINNING FACE}1\N{PILE OF POO}.png", "\ufb01.png"]
    entries: list[Entry] = [(name, [BOX]) for name in names]
    path = save(tmp_path / FILE_NAME, entries, libver="earliest", userblock_size=512)
    assert read_all(path) == expected("train", entries)


ODD_REFERENCES: dict[str, Callable[[Saver], tuple[Any, Any]]] = {
    "a name that is a group": lambda s: (s.bbox(one_box()), s.bbox(one_box())),
    "a name of fractions": lambda s: (s.name([49.5], np.float64), s.bbox(one_box())),
    "a name of codes beyond Unicode": lambda s: (s.name([2**63], np.uint64), s.bbox(one_box())),
    "a bbox that is a dataset": lambda s: (s.name(codes("1.png")), s.name(codes("1.png"))),
    "a reference to nothing": lambda s: (s.name(codes("1.png")), h5py.Reference()),
    "a field that leads to a group": lambda s: (s.name(codes("1.png")), group_with(s, "left", s.bbox(one_box()))),
}


def group_with(saver: Saver, field: str, reference: h5py.Reference) -> h5py.Reference:
    """A bbox whose `field` refers to an odd object."""
    group = saver.refs.create_group(saver.next_name())
    for name in FIELDS:
        odd = name == field
        saver.array(group, name, np.array([reference], object) if odd else [1.0], h5py.ref_dtype if odd else np.float64)
    return group.ref


@pytest.mark.parametrize("make", ODD_REFERENCES.values(), ids=ODD_REFERENCES)
@pytest.mark.usefixtures("both_ways")
def test_an_entry_that_refers_to_the_wrong_thing_is_unreadable(
    make: Callable[[Saver], tuple[Any, Any]], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / FILE_NAME, "w", libver="earliest", userblock_size=512) as file:
        saver = Saver(file)
        name, bbox = make(saver)
        saver.finish([name, saver.name(codes("2.png"))], [bbox, saver.bbox(one_box())])
    bad, good = read_all(tmp_path / FILE_NAME)
    assert bad.dead is not None and bad.dead.reason == "unreadable_entry"
    assert bad.dead.detail.startswith((ENTRY + WHOLE, KEY + WHOLE))
    assert good.dead is None


def test_a_damaged_size_does_not_fill_the_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / FILE_NAME, "w") as file:
        saver = Saver(file)
        huge = file.create_dataset("huge", (2**40, 1), np.uint16, chunks=(1024, 1))
        saver.finish([huge.ref], [saver.bbox(one_box())])
    (bad,) = read_all(tmp_path / FILE_NAME)
    assert bad.dead is not None and "at most 65536 values" in bad.dead.detail


# --- wrong files -------------------------------------------------------------------------------


def make_huge_columns(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for column in ("name", "bbox"):
            file.create_dataset(f"digitStruct/{column}", (2**40, 1), h5py.ref_dtype, chunks=(1024, 1))


def make_uneven_columns(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for length, column in enumerate(("name", "bbox"), 1):
            file.create_dataset(f"digitStruct/{column}", (length, 1), h5py.ref_dtype)


def make_table(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["digitStruct/name"], file["digitStruct/bbox"] = np.zeros(3), np.zeros(3)


HDF5_RULE, COLUMNS_RULE = (
    "must be an HDF5 file (MATLAB v7.3). Received: ",
    "must hold digitStruct/name and digitStruct/bbox",
)
WRONG_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda path: None, "must be SVHN's digitStruct.mat: there is no such file."),
    "a folder": (lambda path: path.mkdir(), "there is no such file."),
    "an empty file": (lambda path: path.write_bytes(b""), HDF5_RULE),
    "a file by MATLAB 5": (
        lambda path: path.write_bytes(
            b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x01IM" + bytes(500)
        ),
        HDF5_RULE,
    ),
    "a text file": (lambda path: path.write_text("name,label\n1.png,1\n" * 100), HDF5_RULE),
    "a saved web page behind a MATLAB header": (lambda path: path.write_bytes(bytes(512) + b"<html>" * 99), HDF5_RULE),
    "HDF5 of another shape": (lambda path: h5py.File(path, "w").close(), COLUMNS_RULE),
    "columns of numbers": (make_table, COLUMNS_RULE),
    "columns of unequal length": (make_uneven_columns, COLUMNS_RULE),
    "columns longer than the file": (make_huge_columns, COLUMNS_RULE),
}


@pytest.mark.parametrize(("make", "rule"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_refused_with_the_rule(make: Callable[[Path], object], rule: str, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    make(path)
    for read in (count_entries, lambda path: list(read_annotations(path, "train", 0, 1))):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and rule in str(caught.value)


@pytest.mark.parametrize("links", [1, 2])
def test_a_file_that_the_library_would_read_for_ever_is_refused(tmp_path: Path, links: int) -> None:
    path = save_as_matlab(tmp_path / FILE_NAME, ENTRIES)
    data = bytearray(path.read_bytes())
    heap = data.index(b"HEAP\0\0\0\0")
    start = 512 + int.from_bytes(data[heap + 24 : heap + 32], "little")
    ring = range(16, 16 + 16 * links, 16)
    for block, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        data[start + block : start + block + 16] = following.to_bytes(8, "little") + (16).to_bytes(8, "little")
    data[heap + 16 : heap + 24] = (16).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"is damaged: .* form a ring\. Received: heap at byte {heap}$"):
        count_entries(path)


def test_a_truncated_real_file_is_refused(tmp_path: Path) -> None:
    whole = (data_folder() / "svhn_sample" / "train" / FILE_NAME).read_bytes()
    for size in (300, 600, 4096, len(whole) - 1):
        (tmp_path / FILE_NAME).write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"must be an HDF5 file \(MATLAB v7\.3\)\. Received: "):
            count_entries(tmp_path / FILE_NAME)


# --- damaged files -----------------------------------------------------------------------------


def damage(whole: bytes, seed: int) -> bytes:
    """Changes some words: to another one of the file, by a bit, by a little, or to an extreme."""
    rng = np.random.default_rng(seed)
    words = np.frombuffer(whole, "<u8").copy()
    used = 64 + np.flatnonzero(words[64:])
    for place in rng.choice(used, rng.integers(1, 150)):
        old = int(words[place])
        changes = [
            int(words[rng.choice(used)]),
            old ^ (1 << int(rng.integers(64))),
            old + 8,
            old - 8,
            0,
            -1,
            len(whole),
        ]
        words[place] = rng.choice(np.array([change % 2**64 for change in changes], np.uint64))
    return words.tobytes()


def read_damaged(path: Path, start: int) -> list[Annotation] | str:
    try:
        assert count_entries(path) >= 0
        return list(read_annotations(path, "train", start, start + 4))
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_damage_is_rejected_or_refused_and_never_read_differently(
    first_seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (data_folder() / "svhn_sample" / "train" / FILE_NAME).read_bytes()
    path = tmp_path / FILE_NAME
    for seed in range(first_seed, first_seed + 50):
        path.write_bytes(damage(whole, seed))
        ours = read_damaged(path, seed % 36)
        with monkeypatch.context() as patch:
            only_h5py(patch)
            theirs = read_damaged(path, seed % 36)
        if isinstance(ours, str) or isinstance(theirs, str):
            assert ours == theirs, seed
            continue
        for one, other in zip(ours, theirs, strict=True):
            unreadable = other.dead is not None and other.dead.reason == "unreadable_entry"
            # Repeated as text, since a box with NaN in it is not equal to itself.
            assert unreadable or repr(one) == repr(other), seed
