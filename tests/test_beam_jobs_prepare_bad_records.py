"""Every kind of bad record, in one source: a right record or a dead letter with its reason, and nothing lost."""

import errno
import json
import math
import os
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import tfrecords
from beam_jobs.__main__ import COMMANDS as BEAM_COMMANDS
from beam_jobs.annotation import Annotation, DeadLetter, RejectedError
from beam_jobs.prepare.config import PrepareConfig
from beam_jobs.prepare.make_shard import make_shard
from beam_jobs.sources.svhn.write import DigitBox, write_digit_struct
from tests.pictures import (
    ALPHA,
    CMYK,
    CMYK_AS_RGB,
    DEEP,
    GREY,
    GREY_ALPHA_KIND,
    GREY_KIND,
    IDAT,
    IEND,
    NOISE,
    PALETTE,
    PALETTE_KIND,
    PLAIN,
    PLAIN_GREY,
    PLTE,
    RGB_KIND,
    RGBA_KIND,
    SMOOTH,
    WIDE,
    Size,
    chunk,
    composed,
    exif,
    flipped,
    grey,
    png,
    saved,
)
from tfrecords import Manifest
from tfrecords.__main__ import COMMANDS as RECORD_COMMANDS
from tfrecords.cli import main
from tfrecords.dataset.manifest import ANNOTATIONS, DEAD_LETTERS
from tfrecords.errors import UserError
from tfrecords.images.crop import BoundingBox
from tfrecords.record.schema import DigitExample

# --- entries ------------------------------------------------------------------------------------

Edit = Callable[[h5py.File, h5py.Group], object]
"""Changes an entry's group of fields to what `write_digit_struct` refuses to write."""


def digit(left: float = 0, top: float = 0, width: float = 64, height: float = 64, label: float = 7) -> DigitBox:
    return DigitBox._make((label, left, top, width, height))


def value(field: str, number: float) -> Edit:
    def edit(file: h5py.File, group: h5py.Group) -> None:
        group[field][...] = number

    return edit


def without(field: str) -> Edit:
    def edit(file: h5py.File, group: h5py.Group) -> None:
        del group[field]

    return edit


def shortened(field: str, count: int) -> Edit:
    def edit(file: h5py.File, group: h5py.Group) -> None:
        kept = group[field][:count]
        del group[field]
        group.create_dataset(field, data=kept, dtype=h5py.ref_dtype)

    return edit


@dataclass(frozen=True, eq=False)
class Entry:
    """A picture as it is named, stored and annotated; `picture` is its bytes, or what makes it at its path."""

    picture: bytes | Callable[[Path], object] | None = PLAIN
    boxes: Sequence[DigitBox] = (digit(),)
    edit: Edit | None = None
    name: str | None = None


@dataclass(frozen=True)
class Good:
    """An entry and what its record must hold: where whole pixels are cut 64 x 64, they are stored as they are."""

    entry: Entry
    pixels: Any = None
    tolerance: int = 0
    text: str = "7"
    crop_box: tuple[int, ...] = (0, 0, 64, 64)


TWO = (digit(width=32), digit(32, width=32, label=10))
BIG = np.random.default_rng(1).integers(0, 256, (100, 120, 3), np.uint8)
BIG_PNG = png(BIG, RGB_KIND)

GOOD = {
    "a JPEG named .png": Good(Entry(saved(SMOOTH, "JPEG", quality=95)), SMOOTH, 9),
    "a BMP named .png": Good(Entry(saved(NOISE, "BMP")), NOISE),
    "a GIF named .png": Good(Entry(saved(GREY, "GIF", "P")), PALETTE[GREY]),
    "a WebP named .png": Good(Entry(saved(NOISE, "WEBP", lossless=True)), NOISE),
    "a CMYK JPEG": Good(Entry(saved(CMYK, "JPEG", "CMYK", quality=95)), CMYK_AS_RGB, 9),
    "a CMYK TIFF": Good(Entry(saved(CMYK, "TIFF", "CMYK")), CMYK_AS_RGB, 1),
    "a PNG of RGB": Good(Entry(), NOISE),
    "a PNG of RGBA": Good(Entry(png(np.dstack([NOISE, ALPHA]), RGBA_KIND)), composed(NOISE, ALPHA)),
    "a PNG of RGBA without a transparent pixel": Good(
        Entry(png(np.dstack([NOISE, np.full((64, 64), 255, np.uint8)]), RGBA_KIND)), NOISE
    ),
    "a PNG of 16-bit RGB": Good(Entry(png(DEEP, RGB_KIND, depth=16)), DEEP >> 8),
    "a PNG of a palette": Good(Entry(png(GREY, PALETTE_KIND, PLTE)), PALETTE[GREY]),
    "a PNG of a palette with transparency": Good(
        Entry(png(GREY, PALETTE_KIND, PLTE, chunk(b"tRNS", ALPHA.tobytes()[:256]))),
        composed(PALETTE[GREY], ALPHA.ravel()[GREY]),
    ),
    "a PNG of 1 bit": Good(
        Entry(png(np.packbits(GREY > 127, 1), GREY_KIND, depth=1, size=(64, 64))), grey(255 * (GREY > 127))
    ),
    "a PNG of grey": Good(Entry(PLAIN_GREY), grey(GREY)),
    "a PNG of 16-bit grey": Good(Entry(png(DEEP[..., 0], GREY_KIND, depth=16)), grey(DEEP[..., 0] >> 8)),
    "a PNG of grey with alpha": Good(
        Entry(png(np.dstack([GREY, ALPHA]), GREY_ALPHA_KIND)), composed(grey(GREY), ALPHA)
    ),
    "a PNG of grey with a transparent grey": Good(
        Entry(png(GREY, GREY_KIND, chunk(b"tRNS", b"\0\x07"))), composed(grey(GREY), np.where(GREY == 7, 0, 255))
    ),
    "a PNG of RGB with a transparent colour": Good(
        Entry(png(NOISE, RGB_KIND, chunk(b"tRNS", NOISE[0, 0].astype(">u2").tobytes()))),
        composed(NOISE, np.where((NOISE[0, 0] == NOISE).all(-1), 0, 255)),
    ),
    "a PNG that is to be turned": Good(
        # Shown, it is 100 wide and 120 high.
        Entry(png(BIG, RGB_KIND, chunk(b"eXIf", exif(6))), [digit(45, 65, 60, 60)]),
        np.rot90(BIG, -1)[56:, 36:],
        crop_box=(56, 36, 120, 100),
    ),
    "a JPEG without its end": Good(Entry(saved(SMOOTH, "JPEG", quality=95)[:-2]), SMOOTH, 9),
    "a PNG with gamma": Good(Entry(png(NOISE, RGB_KIND, chunk(b"gAMA", struct.pack(">I", 100_000)))), NOISE),
    "an interlaced PNG": Good(Entry(png(NOISE, RGB_KIND, interlaced=True)), NOISE),
    "a PNG with garbage behind its end": Good(Entry(PLAIN + b"garbage" * 99), NOISE),
    "a picture of 1 x 1": Good(
        Entry(png(NOISE[:1, :1], RGB_KIND), [digit(width=1, height=1)]),
        np.broadcast_to(NOISE[0, 0], (64, 64, 3)),
        crop_box=(0, 0, 1, 1),
    ),
    "a picture of 20,000 x 2": Good(
        Entry(png(WIDE, RGB_KIND), [digit(width=20_000, height=2)]), crop_box=(0, 0, 2, 20_000)
    ),
    "a box left of the edge by 1": Good(
        Entry(BIG_PNG, [digit(-1, -1, 56.5, 56.5)]), BIG[:64, :64], crop_box=(0, 0, 64, 64)
    ),
    "a box beyond the right and the lower edge": Good(
        Entry(BIG_PNG, [digit(65, 45, 60, 60)]), BIG[36:, 56:], crop_box=(36, 56, 100, 120)
    ),
    "a box far beyond every edge": Good(Entry(boxes=[digit(-1e8, -1e8, 2e8, 2e8)]), NOISE),
    "a label of 0 beside one of 10": Good(
        Entry(boxes=TWO, edit=lambda file, group: file[group["label"][0, 0]].write_direct(np.zeros((1, 1)))),
        NOISE,
        text="00",
    ),
    "a field too many": Good(Entry(edit=lambda file, group: group.create_dataset("angle", data=[[9.0]])), NOISE),
    "a name of spaces and signs": Good(Entry(name="a picture#1, (copy).png"), NOISE),
}


@dataclass(frozen=True)
class Bad:
    """An entry and what its dead letter must say; `received`: the detail's last words, any where empty."""

    entry: Entry
    stage: str
    reason: str
    received: str = ""


def bad_name(name: str) -> Bad:
    return Bad(Entry(name=name), "annotation", "bad_name", repr(name))


def bad_label(received: str, label: float) -> Bad:
    return Bad(Entry(edit=value("label", label)), "annotation", "bad_label", received)


def bad_box(reason: str, received: str, **edges: float) -> Bad:
    return Bad(Entry(boxes=[digit(**edges)]), "annotation", reason, received)


def outside(*boxes: DigitBox) -> Bad:
    return Bad(Entry(boxes=boxes), "crop", "box_outside")


def not_a_picture(data: bytes) -> Bad:
    return Bad(Entry(data), "picture", "not_a_picture", f"{len(data)} bytes")


def unreadable(picture: bytes | Callable[[Path], object], error: int | None = None, name: str | None = None) -> Bad:
    received = os.strerror(error) if error else ""
    return Bad(Entry(picture, name=name), "picture", "unreadable_picture", received)


def too_large(pixels: Any, kind: int, size: Size) -> Bad:
    return Bad(Entry(png(pixels, kind, size=size)), "picture", "too_large", "{} x {}".format(*size))


def sealed(path: Path) -> None:
    path.write_bytes(PLAIN)
    path.chmod(0)


BAD = {
    "a name without a file": Bad(Entry(None), "picture", "missing_picture", os.strerror(errno.ENOENT)),
    "a name that leads up": bad_name("../x.png"),
    "a name that leads to the root": bad_name("/etc/hostname"),
    "a name in a folder": bad_name("folder/x.png"),
    "a name that is the folder above": bad_name(".."),
    "a name too long for a file": unreadable(lambda path: None, errno.ENAMETOOLONG, "9" * 300),
    "a box right of the picture": outside(digit(100)),
    "a box above the picture": outside(digit(top=-200)),
    "one digit's box of two outside the picture": outside(digit(), digit(500)),
    "a box of no width": bad_box("empty_box", "[0.0, 0.0, 0.0, 64.0]", width=0),
    "a box of no height": bad_box("empty_box", "[0.0, 0.0, 64.0, 0.0]", height=0),
    "a box of width below 0": bad_box("empty_box", "[0.0, 0.0, -5.0, 64.0]", width=-5),
    "a box of height below 0": bad_box("empty_box", "[0.0, 0.0, 64.0, -0.5]", height=-0.5),
    "a box at NaN": bad_box("bad_box", "[nan, 0.0, 64.0, 64.0]", left=math.nan),
    "a box of NaN height": bad_box("bad_box", "[0.0, 0.0, 64.0, nan]", height=math.nan),
    "a box without end": bad_box("bad_box", "[0.0, 0.0, inf, 64.0]", width=math.inf),
    "a box at minus infinity": bad_box("bad_box", "[0.0, -inf, 64.0, 64.0]", top=-math.inf),
    "a box at 1e300": bad_box("bad_box", "[1e+300, 0.0, 64.0, 64.0]", left=1e300),
    "a label of -1": bad_label("-1.0", -1),
    "a label of 11": bad_label("11.0", 11),
    "a label of 2.5": bad_label("2.5", 2.5),
    "a label of NaN": bad_label("nan", math.nan),
    "six digits": Bad(Entry(boxes=[digit(9 * n, width=9) for n in range(6)]), "annotation", "too_long", "6"),
    "a field too short": Bad(
        Entry(boxes=TWO, edit=shortened("top", 1)),
        "annotation",
        "uneven_fields",
        "{'label': 2, 'left': 2, 'top': 1, 'width': 2, 'height': 2}",
    ),
    "a field missing": Bad(Entry(edit=without("height")), "annotation", "wrong_fields"),
    "a TIFF of 32-bit grey": Bad(Entry(saved(GREY.astype(np.int32), "TIFF")), "picture", "bad_mode", "I"),
    "a PNG cut in its signature": not_a_picture(PLAIN[:4]),
    "a PNG cut behind its signature": not_a_picture(PLAIN[:8]),
    "a PNG cut in its header": unreadable(PLAIN[:20]),
    "a PNG cut before its pixels": not_a_picture(PLAIN[: IDAT - 8]),
    "a PNG cut in its first pixels": unreadable(PLAIN[: IDAT + 1]),
    "a PNG cut in half": unreadable(PLAIN[: len(PLAIN) // 2]),
    "a PNG cut in its last pixels": unreadable(PLAIN[: IEND - 9]),
    "a PNG of grey cut in half": unreadable(PLAIN_GREY[: len(PLAIN_GREY) // 2]),
    "a PNG of fewer rows than it claims": unreadable(png(NOISE[:32], RGB_KIND, size=(64, 64))),
    "a PNG with a wrong bit in its pixels": unreadable(flipped(PLAIN, IDAT + 6000)),
    "a PNG that claims 50,000 x 50,000": too_large(NOISE, RGB_KIND, (50_000, 50_000)),
    "a PNG of grey that claims 50,000 x 50,000": too_large(GREY, GREY_KIND, (50_000, 50_000)),
    "a PNG that claims 8,001 x 8,000": too_large(NOISE, RGB_KIND, (8001, 8000)),
    "a JPEG cut in half": unreadable(saved(NOISE, "JPEG")[:1500]),
    "a file of zero bytes": not_a_picture(b""),
    "random bytes": not_a_picture(NOISE.tobytes()[:5000]),
    "a text file": not_a_picture(b"name,label\n1.png,1\n" * 99),
    "a text file that is a PostScript program": not_a_picture(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"
    ),
    "a folder": unreadable(lambda path: path.mkdir(), errno.EISDIR),
    "a link to itself": unreadable(lambda path: path.symlink_to(path), errno.ELOOP),
    "a file without read permission": unreadable(sealed, errno.EACCES),
}
DAMAGED_BEHIND_ALL_PIXELS = {
    "cut in the checksum of the stream": (Entry(PLAIN[: IEND - 6]), NOISE),
    "cut in the checksum of the chunk": (Entry(PLAIN[: IEND - 2]), NOISE),
    "cut before the end": (Entry(PLAIN[:IEND]), NOISE),
    "cut in the end": (Entry(PLAIN[:-5]), NOISE),
    "a wrong checksum of the chunk": (Entry(flipped(PLAIN, IEND - 1)), NOISE),
    "a wrong checksum of the chunk, in grey": (Entry(flipped(PLAIN_GREY, PLAIN_GREY.index(b"IEND") - 5)), grey(GREY)),
}
"""The pixels are whole; in the last two the stream's own Adler-32 says so."""
TWICE = [Entry(name="twice.png"), Entry(boxes=[digit(label=3)], name="twice.png")]
CORRECTED = [Entry(edit=value("label", 11), name="corrected.png"), Entry(name="corrected.png")]
ENTRIES = [
    *(case.entry for case in GOOD.values()),
    *(case.entry for case in BAD.values()),
    *(entry for entry, _ in DAMAGED_BEHIND_ALL_PIXELS.values()),
    *TWICE,
    *CORRECTED,
]


def name_of(entry: Entry) -> str:
    return entry.name or f"{ENTRIES.index(entry) + 1}.png"


def make_source(folder: Path, entries: Sequence[Entry], names: Sequence[str]) -> None:
    folder.mkdir()
    write_digit_struct(folder / "digitStruct.mat", names, [entry.boxes for entry in entries])
    with h5py.File(folder / "digitStruct.mat", "r+") as file:
        for place, (name, entry) in enumerate(zip(names, entries, strict=True)):
            if entry.edit:
                entry.edit(file, file[file["digitStruct/bbox"][place, 0]])
            if callable(entry.picture):
                entry.picture(folder / name)
            elif entry.picture is not None and "/" not in name and name != "..":
                (folder / name).write_bytes(entry.picture)


def prepare(source: Path, output: Path) -> int:
    options = ["--jitters", "0", "--validation-fraction", "0", "--shards", "3", "--max-dead-fraction", "1"]
    arguments = ["prepare", "--source", "svhn", "--input", str(source), "--output", str(output), *options]
    return main("beam_jobs", "", BEAM_COMMANDS, arguments)


# --- tests --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset directory of all entries, stored as whole crops of 64 x 64."""
    folder = tmp_path_factory.mktemp("bad_records")
    make_source(folder / "photos", ENTRIES, [name_of(entry) for entry in ENTRIES])
    (folder / "x.png").write_bytes(PLAIN)  # where ../x.png leads
    assert prepare(folder / "photos", folder / "records") == 0
    return folder / "records"


@pytest.fixture(scope="module")
def examples(dataset: Path) -> dict[str, list[DigitExample]]:
    """The examples by their pictures' names."""
    found: dict[str, list[DigitExample]] = {}
    for example in tfrecords.open(dataset, "train"):
        found.setdefault(example.key.removeprefix("photos/").removesuffix("#0"), []).append(example)
    return found


@pytest.fixture(scope="module")
def letters(dataset: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (dataset / DEAD_LETTERS).read_text().splitlines()]


@pytest.fixture(scope="module")
def rows(dataset: Path) -> list[dict[str, Any]]:
    """A row of annotations.parquet for each entry, in their order."""
    table = pq.read_table(dataset / ANNOTATIONS).to_pylist()
    assert [row["index"] for row in table] == list(range(len(ENTRIES)))
    return table


@pytest.mark.parametrize("case", GOOD.values(), ids=GOOD)
def test_an_odd_picture_is_handled(
    case: Good, examples: dict[str, list[DigitExample]], rows: list[dict[str, Any]]
) -> None:
    assert rows[ENTRIES.index(case.entry)]["reason"] is None
    (example,) = examples[name_of(case.entry)]
    assert example.text == case.text
    assert tuple(example.crop_box) == case.crop_box
    if case.pixels is not None:
        np.testing.assert_allclose(example.image, case.pixels, rtol=0, atol=case.tolerance)
    ymin, xmin, ymax, xmax = case.crop_box
    for place, box in enumerate(case.entry.boxes):
        edges = np.array([box.top, box.left, box.top + box.height, box.left + box.width]) - (ymin, xmin, ymin, xmin)
        scale = 64 / np.array([ymax - ymin, xmax - xmin] * 2)
        np.testing.assert_allclose(example.boxes[place], edges * scale, rtol=1e-6, atol=1e-4)


def test_a_very_wide_picture_is_shrunk_evenly(examples: dict[str, list[DigitExample]]) -> None:
    (example,) = examples[name_of(GOOD["a picture of 20,000 x 2"].entry)]
    between = np.interp((np.arange(64) + 0.5) / 32 - 0.5, [0, 1], [10, 200])
    np.testing.assert_allclose(example.image[:, :, 0], np.repeat(between[:, np.newaxis], 64, 1), rtol=0, atol=1)
    assert (example.image[:, :31, 1] == 0).all() and (example.image[:, 33:, 1] == 250).all()


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_a_bad_picture_becomes_a_dead_letter(
    case: Bad, letters: list[dict[str, str]], rows: list[dict[str, Any]], examples: dict[str, list[DigitExample]]
) -> None:
    if case.entry.picture is sealed and os.geteuid() == 0:
        pytest.skip("root may read every file")
    place, name = ENTRIES.index(case.entry), name_of(case.entry)
    unnamed = case.reason == "bad_name"
    key = f"photos/#{place + 1}" if unnamed else f"photos/{name}"
    found = [letter for letter in letters if letter["key"] == key]
    assert len(found) == 1, f"{key} has {len(found)} dead letters"
    letter = found[0]
    assert {column: rows[place][column] for column in letter} == letter
    assert (letter["stage"], letter["reason"]) == (case.stage, case.reason)
    assert letter["detail"].startswith(f"digitStruct.mat: entry {place + 1}: " if unnamed else f"{key}: ")
    rule, _, received = letter["detail"].partition(" Received: ")
    assert rule.endswith(".") and letter["detail"].isprintable()
    assert received and received.endswith(case.received)
    assert name not in examples


@pytest.mark.parametrize(("entry", "pixels"), DAMAGED_BEHIND_ALL_PIXELS.values(), ids=DAMAGED_BEHIND_ALL_PIXELS)
def test_a_png_damaged_behind_its_last_pixel_is_whole_or_a_dead_letter(
    entry: Entry, pixels: Any, examples: dict[str, list[DigitExample]], rows: list[dict[str, Any]]
) -> None:
    reason = rows[ENTRIES.index(entry)]["reason"]
    assert reason in (None, "unreadable_picture")
    if reason is None:
        np.testing.assert_array_equal(examples[name_of(entry)][0].image, pixels)


def test_of_a_name_given_twice_the_first_counts_and_the_second_is_a_dead_letter(
    examples: dict[str, list[DigitExample]], letters: list[dict[str, str]], rows: list[dict[str, Any]]
) -> None:
    assert [row["reason"] for row in rows if row["name"] == "twice.png"] == [None, "duplicate_name"]
    assert [example.text for example in examples["twice.png"]] == ["7"]
    (letter,) = [letter for letter in letters if letter["key"] == "photos/twice.png"]
    place = ENTRIES.index(TWICE[1]) + 1
    assert letter["stage"] == "annotation"
    assert letter["detail"] == f"photos/twice.png: A picture must be named once. Received: entry {place}"


def test_a_name_whose_first_annotation_was_rejected_may_be_given_again(
    examples: dict[str, list[DigitExample]], rows: list[dict[str, Any]]
) -> None:
    assert [row["reason"] for row in rows if row["name"] == "corrected.png"] == ["bad_label", None]
    assert len(examples["corrected.png"]) == 1


def test_pictures_read_are_those_accepted_and_the_dead_letters(
    dataset: Path, letters: list[dict[str, str]], rows: list[dict[str, Any]], examples: dict[str, list[DigitExample]]
) -> None:
    manifest = Manifest.load(dataset)
    (source,) = manifest.sources
    assert source.pictures == len(ENTRIES) == source.accepted + len(letters)
    assert source.rejected == len(letters) == sum(manifest.dead_letters.values())
    assert Counter(letter["reason"] for letter in letters) == manifest.dead_letters
    accepted = [row["name"] for row in rows if row["reason"] is None]
    assert Counter(accepted) == {name: len(found) for name, found in examples.items()}
    assert {name_of(case.entry) for case in GOOD.values()} <= set(accepted)
    assert source.accepted == manifest.splits["train"].pictures == manifest.splits["train"].examples


def test_what_is_made_of_bad_records_is_a_whole_dataset(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main("tfrecords", "", RECORD_COMMANDS, ["validate", str(dataset)])
    assert code == 0, capsys.readouterr().err


NAMES = {
    "accents and ideographs": ("Straße 日本.png", "photos/Straße 日本.png", None),
    "a letter of two UTF-16 codes": ("\N{GRINNING FACE}.png", "photos/\N{GRINNING FACE}.png", None),
    "the first half of a letter": ("\ud83d.png", "photos/#2", "bad_name"),
    "the second half of a letter": ("\ude00.png", "photos/#2", "bad_name"),
    "the halves of a letter exchanged": ("\ude00\ud83d.png", "photos/#2", "bad_name"),
    "two lines": ("1\n2.png", "photos/#2", "bad_name"),
}


@pytest.mark.parametrize(("name", "key", "reason"), NAMES.values(), ids=NAMES)
def test_a_name_beyond_ascii_is_read_or_a_dead_letter(name: str, key: str, reason: str | None, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    make_source(source, [Entry(), Entry()], ["1.png", "2.png"])
    with h5py.File(source / "digitStruct.mat", "r+") as file:
        codes = np.frombuffer(name.encode("utf-16-le", "surrogatepass"), "<u2")[:, np.newaxis]
        file["digitStruct/name"][1, 0] = file["#refs#"].create_dataset("another", data=codes).ref
    if reason is None:
        (source / "2.png").rename(source / name)
    assert prepare(source, tmp_path / "records") == 0
    row = pq.read_table(tmp_path / "records" / ANNOTATIONS).to_pylist()[1]
    assert (row["key"], row["reason"]) == (key, reason)
    if reason:
        rule = "digitStruct.mat: entry 2: A picture's name must be a plain file name."
        assert row["detail"] == f"{rule} Received: {name!r}" and row["detail"].isprintable()


def annotation(name: str, index: int, dead: bool = False) -> Annotation:
    letter = RejectedError("annotation", "bad_label", "no digit").letter if dead else None
    return Annotation("train", name, index, str(index), (BoundingBox(0, 0, 64, 64),), letter)


def make(annotations: Sequence[Annotation]) -> tuple[list[bytes], list[str | None]]:
    """A shard's records, and in the order of the source why pictures were rejected."""
    records, rows = make_shard(annotations, "train", 0, False, PrepareConfig(), lambda key: PLAIN)
    return records, [row.dead.reason if row.dead else None for row in rows]


def test_which_of_the_annotations_of_a_name_counts_does_not_depend_on_the_order_of_reading() -> None:
    named = [annotation("a", 0, dead=True), annotation("b", 1), annotation("a", 2), annotation("a", 3)]
    records, reasons = make(named)
    assert reasons == ["bad_label", None, None, "duplicate_name"]
    assert records == make(named[:3])[0]
    for order in (named[::-1], named[2:] + named[:2]):
        assert make(order) == (records, reasons)


def raising(error: OSError) -> Callable[[str], bytes]:
    def read(key: str) -> bytes:
        raise error

    return read


PATH = "/home/me/1.png"
UNREAD = {
    FileNotFoundError(errno.ENOENT, "No such file", PATH): "missing_picture: there is no such picture: No such file",
    IsADirectoryError(errno.EISDIR, "Is a directory", PATH): "unreadable_picture: cannot be read: Is a directory",
    OSError(errno.EIO, "Input/output error", PATH): "unreadable_picture: cannot be read: Input/output error",
    TimeoutError(): "unreadable_picture: cannot be read: TimeoutError",
}


@pytest.mark.parametrize(("error", "expected"), UNREAD.items(), ids=map(repr, UNREAD))
def test_a_picture_that_cannot_be_read_is_a_dead_letter_without_its_path(error: OSError, expected: str) -> None:
    reason, rule, received = expected.split(": ")
    records, (row,) = make_shard([annotation("1", 0)], "train", 0, False, PrepareConfig(), raising(error))
    detail = f"train/1: {rule}. Received: {received}"
    assert records == [] and row.dead == DeadLetter("picture", reason, detail)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_that_is_short_of_something_ends_the_job(number: int) -> None:
    read = raising(OSError(number, "Too little", PATH))
    with pytest.raises(UserError) as caught:
        make_shard([annotation("1", 0)], "train", 0, False, PrepareConfig(), read)
    rule = "train/1: cannot be read, because the machine lacks a resource that every picture needs."
    assert str(caught.value) == f"{rule} Received: Too little"
    assert not isinstance(caught.value, RejectedError)
