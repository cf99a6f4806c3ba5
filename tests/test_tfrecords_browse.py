"""Pages of a dataset: what filters and orders find, what a page shows, and what it refuses."""

import re
import shutil
from collections.abc import Callable
from html import unescape
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tfrecords
from tests.browsed import Site, write_stream, write_suspects
from tests.pages import Page, show
from tests.scene_records import write_scenes
from tfrecords.browse.query import Query
from tfrecords.browse.router import Router, parse_values
from tfrecords.browse.source_folder import SourceFolder, differs
from tfrecords.browse.stock import Stock
from tfrecords.browse.suspects import read_suspects
from tfrecords.dataset.manifest import ANNOTATIONS, Manifest
from tfrecords.errors import UserError
from tfrecords.files.place import Place
from tfrecords.record.schema import features_of

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def site(records: Path, drawn: Path) -> Site:
    return Site(records, drawn)


@pytest.fixture(scope="module")
def examples(records: Path) -> list[tuple[str, Any]]:
    """Every example with its split, read one by one."""
    return [(split, each) for split in SPLITS for each in tfrecords.open(records, split)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(write_scenes(tmp_path_factory.mktemp("scenes") / "photos"))


def height(example: Any) -> int:
    return int(example.crop_box[2] - example.crop_box[0])


FILTERS: dict[str, Callable[[str, Any], bool]] = {
    "split=validation": lambda split, each: split == "validation",
    "text=1&match=prefix": lambda split, each: each.text.startswith("1"),
    "text=1&match=contains&split=train": lambda split, each: "1" in each.text and split == "train",
    "key=png%233": lambda split, each: each.key.endswith("#3"),
    "min_length=2&max_length=2": lambda split, each: each.length == 2,
    "min_height=40": lambda split, each: height(each) >= 40,
    "min_height=30&max_height=50&text=2&match=contains": lambda split, each: (
        30 <= height(each) <= 50 and "2" in each.text
    ),
}


def _of_all_pages(site: Site, query: str) -> list[str]:
    pages = re.findall(r"page 1 of ([\d,]+)", site.get(f"/?{query}"))
    count = int(pages[0].replace(",", "")) if pages else 1
    return list(chain.from_iterable(site.keys(f"/?{query}&page={page}") for page in range(1, count + 1)))


@pytest.mark.parametrize("query", FILTERS)
def test_a_filter_finds_what_reading_every_example_finds(
    query: str, site: Site, examples: list[tuple[str, Any]]
) -> None:
    expected = [each.key for split, each in examples if FILTERS[query](split, each)]
    assert 0 < len(expected) < len(examples)
    assert _of_all_pages(site, query) == expected


def test_a_number_is_found_exactly(site: Site, examples: list[tuple[str, Any]]) -> None:
    text = examples[0][1].text
    assert site.keys(f"/?text={text}") == [each.key for _, each in examples if each.text == text][:48]


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("text", lambda each: each.text),
        ("length", lambda each: each.length),
        ("height", height),
        ("key", lambda each: each.key.encode()),
    ],
)
def test_an_order_is_that_of_sorted_and_equal_ones_stay_in_stored_order(
    sort: str, value: Callable[[Any], Any], site: Site, examples: list[tuple[str, Any]]
) -> None:
    every = [each for _, each in examples]
    up = sorted(every, key=value)
    down = sorted(every, key=value, reverse=True)
    assert site.keys(f"/?sort={sort}") == [each.key for each in up[:48]]
    assert site.keys(f"/?sort={sort}&order=down") == [each.key for each in down[:48]]


def test_pages_in_stored_order_hold_every_example_once(site: Site, examples: list[tuple[str, Any]]) -> None:
    assert _of_all_pages(site, "") == [each.key for _, each in examples]


def test_the_first_page_reads_only_what_it_shows(records: Path) -> None:
    stock = Stock(Place(records), None, None)
    assert Router(stock, None).answer("/")[0] == HTTPStatus.OK
    assert not stock.shown.scan.is_started
    assert sum(len(each._files) for each in stock.shown.splits.values()) <= 2


def test_the_page_of_an_example_has_every_feature_its_boxes_and_its_source(
    site: Site, examples: list[tuple[str, Any]], drawn: Path, records: Path
) -> None:
    _, example = examples[3]
    page = site.get("/example?n=4")
    text = unescape(Page(page).text)
    for name in features_of(Manifest.load(records).labels):
        assert f'<th scope="row">{name}</th>' in page, name
    assert example.key in text and ", ".join(map(str, example.crop_box.tolist())) in text and "4 of" in text
    marks = Page(page).all("rect")
    ymin, xmin, ymax, xmax = example.crop_box.tolist()
    assert len(marks) == 2 * example.length + 1
    crop = next(attrs for attrs in marks if attrs["class"] == "crop")
    assert [float(crop[name]) for name in ("x", "y", "width", "height")] == [xmin, ymin, xmax - xmin, ymax - ymin]
    subset, name = example.key.partition("#")[0].split("/")
    assert (drawn / subset / name).is_file() and f"{subset}/{name}, " in text and "another file" not in text


def test_next_and_previous_stay_in_the_filter(site: Site, examples: list[tuple[str, Any]]) -> None:
    found = [each.key for _, each in examples if "1" in each.text]
    page = site.get("/example?n=2&text=1&match=contains")
    links = {attrs["rel"]: attrs["href"] for attrs in Page(page).all("a") if attrs.get("rel")}
    assert [found[index] in site.get(links[rel]) for rel, index in (("prev", 0), ("next", 2))] == [True, True]
    assert found[:3] == site.keys(links["up"])[:3]


def test_a_source_picture_that_is_another_file_is_told(records: Path, drawn: Path, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        shutil.copy(drawn / "train" / "1.png", tmp_path / name)
    site = Site(records, tmp_path)
    assert "another file than the one" not in site.get("/example?key=train/1.png&n=1")
    assert "another file than the one" in site.get("/example?key=train/2.png&n=1")
    assert "--input has no file 3.png" in site.get("/example?key=train/3.png&n=1")


def test_a_name_never_leaves_the_folder_of_source_pictures(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "in" / "a" / "1.png").write_bytes(b"one")
    folder = SourceFolder(tmp_path / "in")
    assert folder.find("train", "../secret.png")[0] is None and folder.find("..", "secret.png")[0] is None
    assert folder.find("train", str(tmp_path / "secret.png"))[0] is None
    assert folder.find("train", "1.png") == ("a/1.png", "") and folder.read("a/1.png") == b"one"
    (tmp_path / "in" / "b").mkdir()
    (tmp_path / "in" / "b" / "1.png").write_bytes(b"two")
    assert folder.find("train", "2.png")[0] is None
    assert SourceFolder(tmp_path / "in").find("train", "1.png")[1].startswith("2 files of --input are called 1.png")
    assert differs(b"one", 3, 0) and differs(b"one", 4, None) and not differs(b"one", None, None)


@pytest.fixture(scope="module")
def rejecting(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose table says of two pictures that they were rejected."""
    folder = tmp_path_factory.mktemp("rejecting") / "records"
    shutil.copytree(records, folder)
    rows = pq.read_table(folder / ANNOTATIONS)
    dead = rows.slice(0, 2).to_pylist()
    for row, reason in zip(dead, ("too_long", "not_a_picture"), strict=True):
        row |= {"key": f"train/{reason}.png", "stage": "annotation", "reason": reason, "detail": f"<b>{reason}</b>"}
    pq.write_table(type(rows).from_pylist([*rows.to_pylist(), *dead], rows.schema), folder / ANNOTATIONS)
    return folder


def test_rejected_pictures_have_their_reasons(rejecting: Path, drawn: Path) -> None:
    site = Site(rejecting, drawn)
    page = site.get("/rejected")
    assert "<b>too_long" not in page and "&lt;b&gt;too_long" in page and "train/not_a_picture.png" in page
    assert "train/not_a_picture.png" not in site.get("/rejected?reason=too_long")
    letter = site.get("/letter?n=2")
    assert "2 of 2" in letter and "not_a_picture" in letter
    assert Page(letter).all("image")[0]["href"].startswith("data:image/jpeg;base64,")
    assert site.refused("/rejected?reason=none") == (
        "reason must be one of those of this dataset: too_long, not_a_picture. Received: 'none'"
    )
    assert site.refused("/letter?n=3") == "n must be 1..2. Received: 3"


def test_without_annotations_dead_letters_are_shown_and_the_page_says_what_is_missing(
    rejecting: Path, tmp_path: Path
) -> None:
    shutil.copytree(rejecting, tmp_path / "records")
    (tmp_path / "records" / ANNOTATIONS).unlink()
    (tmp_path / "records" / "dead_letters.jsonl").write_text(
        '{"key": "train/9.png", "stage": "crop", "reason": "bad", "detail": "why"}\nnothing\n'
    )
    site = Site(tmp_path / "records")
    page = unescape(site.get("/rejected"))
    assert "train/9.png" in page and "annotations.parquet: there is no such file" in page
    assert "dead_letters.jsonl: line 2 is no dead letter: b'nothing'" in page and str(tmp_path) not in page
    assert "annotations.parquet" in site.get("/example?n=1")


def test_suspects_are_shown_filtered_and_sorted(records: Path, tmp_path: Path, examples: list[tuple[str, Any]]) -> None:
    keys = list(dict.fromkeys(each.key for split, each in examples if split == "train"))
    picture = keys[5].partition("#")[0]
    rows = [
        (keys[0], "label", 0.5, "1", "7", "two readers <agree>"),
        (keys[9], "label", 0.9, None, None, None),
        (picture, "box", 0.7, None, None, None),
        ("train/gone.png", "box", 1.0, None, None, None),
    ]
    site = Site(records, suspects=write_suspects(tmp_path / "suspects.parquet", rows))
    assert site.keys("/?suspect=label") == [keys[0], keys[9]]
    assert site.keys("/?suspect=label&sort=score&order=down") == [keys[9], keys[0]]
    of_picture = [each.key for _, each in examples if each.key.startswith(f"{picture}#")]
    assert site.keys("/?suspect=box") == of_picture and len(of_picture) > 1
    assert len(site.keys("/?suspect=any")) == len({keys[0], keys[9], *of_picture})
    assert "two readers &lt;agree&gt;" in site.get("/example?suspect=label&n=1")
    assert "label 0.9" in site.get("/?suspect=label")
    assert "1 keys of the suspects are those of no example." in site.get("/about")
    assert site.refused("/?suspect=leak") == "suspect must be any, box, label. Received: leak"


def test_a_file_that_is_none_of_suspects_is_refused(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must have the columns key, kind, score, given, suggested, evidence, each"):
        read_suspects(records / ANNOTATIONS)
    with pytest.raises(UserError, match="there is no such file of suspects"):
        read_suspects(tmp_path / "gone.parquet")


def test_a_scene_is_found_by_any_of_its_numbers_and_shown_with_all_boxes(scenes: Site) -> None:
    assert scenes.keys("/?text=88") == scenes.keys("/?key=street+3") == ["train/street 3.png"]
    # One number must pass all filters of numbers: 4 and 88 are of one scene.
    assert scenes.keys("/?text=4&min_length=2") == []
    assert scenes.keys("/?max_length=0") == ["train/street 1.png"]
    assert scenes.keys("/?split=train&sort=length&order=down")[0] == "train/street 4.png"
    page = scenes.get("/example?text=88")
    kinds = [attrs["class"] for attrs in Page(page).all("rect")]
    assert kinds == ["part", "part", "part", "c0", "c1"] and "numbers/bbox" in page
    assert "there is no such file" in page


def test_snapshots_of_a_stream_and_what_differs_between_them(tmp_path: Path) -> None:
    site = Site(write_stream(tmp_path / "stream"))
    listed = site.get("/snapshots")
    assert "4</a> (shown)" in listed and "/?snapshot=0" in listed and "/difference?a=0&amp;b=4" in listed
    assert site.keys("/") == ["train/a.png", "train/b.png", "train/c.png", "test/d.png"]
    assert site.keys("/?snapshot=0") == ["train/a.png", "train/b.png"]
    difference = unescape(Page(site.get("/difference?a=0&b=4")).text)
    assert re.search(r"2 pictures added\s+test/d.png\s*train/c.png", difference)
    assert re.search(r"1 picture with another text\s+train/a.png", difference)
    assert "Both hold the same examples" in site.get("/difference?a=4&b=4")
    assert "has the snapshots 0 to 4, and not every number is one. Received: snapshot 3" in site.refused("/?snapshot=3")


def test_a_damaged_record_has_a_page_and_the_others_have_theirs(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "records")
    shard = next((tmp_path / "records").glob("*-test.tfrecord-00000*"))
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    site = Site(tmp_path / "records")
    assert site.get("/?split=test").count("damaged</b>") == 1
    page = site.get("/example?split=test&n=1")
    assert "This example cannot be read" in page and "checksum" in page and str(tmp_path) not in page
    assert "1 records cannot be read, and no filter finds them" in site.get("/about")
    assert len(_of_all_pages(site, "split=test&sort=length")) == len(tfrecords.open(records, "test")) - 1


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/?page=0", "page must be 1..9. Received: 0"),
        ("/?page=x", "page must be a number of up to nine digits. Received: 'x'"),
        ("/?sort=colour", "sort must be one of stored, key, text, length, height, score. Received: 'colour'"),
        ("/?split=extra", "The dataset svhn has the splits train, validation, test. Received: extra"),
        ("/?min_length=-1", "min_length must be a number of up to nine digits. Received: '-1'"),
        ("/?sort=score", "An order by suspicion needs suspects.parquet, and this dataset has none."),
        ("/example?n=99999", "n must be 1..420. Received: 99999"),
        ("/example?text=none", "No example passes these filters."),
        ("/?text=" + "1" * 201, "text must have at most 200 characters. Received: "),
        ("/?text=%ff", "A URL must have at most 40 values, in UTF-8. Received: 'text=%ff'"),
        ("/?" + "a=1&" * 50, "A URL must have at most 40 values, in UTF-8. Received: "),
        ("/snapshots", "is no stream, and has no snapshots."),
        ("/?snapshot=3", "is no stream, and has no snapshots: it has no stream.json. Received: snapshot 3"),
        ("/difference?a=1", "b must be a number of up to nine digits. Received: ''"),
    ],
)
def test_a_url_that_asks_for_what_is_not_there_is_refused(target: str, rule: str, site: Site) -> None:
    assert re.sub(r"1\.\.\d+", "1..N", rule) in re.sub(r"1\.\.\d+", "1..N", site.refused(target))


@pytest.mark.parametrize("target", ["/manifest.json", "//", "/../etc/passwd", "/example/", "", "http://other/"])
def test_no_other_path_leads_anywhere(target: str, site: Site) -> None:
    assert "There is no page" in site.get(target, HTTPStatus.NOT_FOUND)


def test_texts_of_a_url_are_escaped(site: Site) -> None:
    page = site.get("/?text=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page and "No example passes" in page


def test_a_query_comes_back_from_its_url() -> None:
    query = Query(text="a b&c", match="contains", min_length=0, sort="text", order="down", snapshot=4)
    assert Query.parse(parse_values(query.url("/").partition("?")[2])) == query
    assert Query().url("/") == "/" and Query().is_stored and not query.is_stored


def test_pages_fit_a_phone_and_follow_the_scheme(site: Site, tmp_path: Path) -> None:
    shown = show(site.get("/?text=1&match=prefix"), tmp_path, dark=True)
    assert shown.content_width <= shown.window_width and shown.is_dark and shown.background == "rgb(19, 21, 25)"
    shown = show(site.get("/example?n=1"), tmp_path)
    assert shown.content_width <= shown.window_width and shown.background == "rgb(247, 247, 245)"
