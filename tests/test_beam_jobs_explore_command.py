"""`explore` as a user runs it: the page, the figures, and what is refused."""

import csv
import gzip
import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from beam_jobs.__main__ import COMMANDS
from tests.real_data import data_folder
from tfrecords.cli import main
from tfrecords.pages.page import footer_mark

MOST_BYTES = 2_000_000


def explore(source: str, given: Path, output: Path, *options: str) -> int:
    arguments = ["--source", source, "--input", str(given), "--output", str(output), *options]
    return main("beam_jobs", "", COMMANDS, ["explore", *arguments])


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def damaged(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures, one of them missing, one no picture, and two with the content of others."""
    folder = tmp_path_factory.mktemp("damaged") / "svhn"
    shutil.copytree(drawn, folder)
    (folder / "train" / "1.png").unlink()
    (folder / "train" / "2.png").write_bytes(b"no picture")
    shutil.copy(folder / "train" / "3.png", folder / "train" / "4.png")
    shutil.copy(folder / "train" / "3.png", folder / "test" / "5.png")
    return folder


@pytest.fixture(scope="module")
def made(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the page and figures of the damaged pictures."""
    output = tmp_path_factory.mktemp("made") / "new" / "page.html"
    assert explore("svhn", damaged, output) == 0
    return output.parent


@pytest.fixture(scope="module")
def found(made: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((made / "page.statistics.json").read_text())
    return figures


def test_there_are_two_files_and_the_page_needs_nothing_else(made: Path) -> None:
    assert list(files(made)) == ["page.html", "page.statistics.json"]
    page = (made / "page.html").read_text()
    assert len(page) < MOST_BYTES and footer_mark("python -m beam_jobs explore") in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page) and "<script" not in page and "url(" not in page
    assert page.count("<figure>") == 15
    assert set(re.findall(r'href="#(\w+)"', page)) <= set(re.findall(r'id="(\w+)"', page))


def test_rejected_pictures_and_copies_are_counted_by_reason(found: dict[str, Any], made: Path) -> None:
    assert found["total"]["rejected"] == {"missing_picture": 1, "not_a_picture": 1}
    assert found["subsets"]["test"]["rejected"] == {}
    copies = found["duplicates"]
    assert (copies["groups"], copies["copies"], copies["across_subsets"]) == (1, 2, 1)
    names = [one["picture"] for one in copies["examples"][0]["pictures"]]
    assert names == ["test/5.png", "train/3.png", "train/4.png"]
    page = (made / "page.html").read_text()
    assert "not_a_picture" in page and "train/4.png" in page


def test_the_sizes_are_those_of_the_files(found: dict[str, Any], damaged: Path) -> None:
    sizes = []
    for path in damaged.glob("*/*.png"):
        if path.name != "2.png" or path.parent.name != "train":
            with Image.open(path) as picture:
                sizes.append(picture.size)
    pictures = found["total"]["pictures"]
    assert pictures["count"] == len(sizes) == 78
    assert pictures["width"]["max"] == max(width for width, _ in sizes)
    assert pictures["height"]["min"] == min(height for _, height in sizes)
    mean = sum(width * height for width, height in sizes) / len(sizes)
    assert pictures["pixels"]["mean"] == pytest.approx(mean, rel=1e-5)
    assert sum(count for *_, count in pictures["width_height_histogram"]) == len(sizes)


def test_every_entry_counts(found: dict[str, Any]) -> None:
    total, parts = found["total"], found["subsets"].values()
    assert total["entries"] == 80 == sum(part["entries"] for part in parts)
    assert total["numbers"] == 80 == sum(total["lengths"].values())
    assert sum(one["share"] for one in total["characters"].values()) == pytest.approx(1, abs=1e-4)
    assert total["margins"]["numbers"] == 78


def test_again_gives_the_same_bytes_and_takes_the_place_of_the_page(
    made: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(made)
    options = ("--direct_running_mode", "multi_threading", "--direct_num_workers", "2")
    assert explore("svhn", damaged, made / "page.html", *options) == 0
    assert files(made) == before
    counts, written, following = capsys.readouterr().out.splitlines()[-3:]
    assert re.fullmatch(r"80 entries, 78 pictures, 2 rejected in [\d.]+ s", counts)
    assert written == f"The page is {made}/page.html, its figures are in {made}/page.statistics.json"
    assert following.startswith(f"Next: python -m beam_jobs prepare --source svhn --input {damaged} --output ")


def test_the_next_command_prepares_what_was_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("meter-07.png", "meter-12.png"):
        Image.new("RGB", (40, 30), "white").save(tmp_path / name)
    assert explore("image-folder", tmp_path, tmp_path / "page.html", r"--pattern=-(\d+)", "--jitters", "0") == 0
    following = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(following.removeprefix("Next: python -m beam_jobs "))
    assert words[-3:] == ["0", "--output", str(tmp_path / "page-records")]
    assert main("beam_jobs", "", COMMANDS, words) == 0
    manifest = json.loads((tmp_path / "page-records" / "manifest.json").read_text())
    assert sum(split["examples"] for split in manifest["splits"].values()) == 2


def test_pictures_of_one_digit_without_boxes_have_a_page(tmp_path: Path) -> None:
    rows = [",".join(["3"] * 64 + [str(label)]) for label in (1, 2, 2)]
    (tmp_path / "optdigits.tra").write_text("\n".join(rows))
    assert explore("optdigits", tmp_path, tmp_path / "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    assert "Every picture has 8 x 8 = 64 pixels." in page and "Every number has 1 character." in page
    # Three equal pictures, of which one has another number.
    figures = json.loads((tmp_path / "page.statistics.json").read_text())
    assert (figures["duplicates"]["copies"], figures["duplicates"]["with_other_numbers"]) == (2, 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("page.txt", None, "--output must end in .html or .htm"),
        ("page.html", b"<html>mine</html>", "--output must be a new file, or a page of an earlier explore"),
        ("new", b"no folder", "--output needs a folder that can be written to"),
        ("page.statistics.json", b"{}", "must be a new file, or those of an earlier explore"),
    ],
)
def test_somebody_s_file_stays(
    name: str, content: bytes | None, message: str, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    output = tmp_path / {"page.txt": "page.txt", "new": "new/page.html"}.get(name, "page.html")
    assert explore("svhn", drawn, output) == 1
    assert message in capsys.readouterr().err
    assert files(tmp_path) == before


def test_all_of_svhn_s_train_as_a_table_without_pictures_has_the_published_figures(tmp_path: Path) -> None:
    numbers: dict[str, str] = {}
    with gzip.open(data_folder() / "svhn_annotations" / "train.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            numbers[row["name"]] = numbers.get(row["name"], "") + str(int(row["label"]) % 10)
    lines = [f"{name},{text}" for name, text in numbers.items()]
    (tmp_path / "train.csv").write_text("\n".join(["file_name,text", *lines]))
    assert explore("table", tmp_path / "train.csv", tmp_path / "page.html") == 0
    total = json.loads((tmp_path / "page.statistics.json").read_text())["total"]
    assert total["lengths"] == {"1": 5137, "2": 18130, "3": 8691, "4": 1434, "5": 9, "6": 1}
    shares = {digit: round(100 * one["share"], 1) for digit, one in total["characters"].items()}
    assert (shares["1"], shares["9"]) == (18.9, 6.4)
    assert total["rejected"] == {"missing_picture": 33402}
    assert "No picture could be read." in (tmp_path / "page.html").read_text()
