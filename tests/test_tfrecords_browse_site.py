"""A static site of a sample: complete, self-contained, the same again, and never in the place of somebody's files."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tfrecords
from tests.browsed import write_stream
from tests.pages import Page, browser
from tests.scene_records import write_scenes
from tfrecords.__main__ import COMMANDS
from tfrecords.browse.views import SCRIPT_POLICY, Views
from tfrecords.cli import main

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command, which must end with a code, and returns what it prints."""

    def call(*arguments: object, code: int = 0) -> str:
        assert main("tfrecords", "", COMMANDS, ["browse", *map(str, arguments)]) == code
        printed = capsys.readouterr()
        return printed.out if code == 0 else printed.err

    return call


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _keys(folder: Path) -> list[str]:
    pages = sorted(folder.glob("page-*.html"))
    text = "".join(path.read_text() for path in (folder / "index.html", *pages))
    return re.findall(r'class="key">([^<,]+)', text)


def test_a_site_is_self_contained_and_all_its_links_lead_to_its_own_pages(
    records: Path, drawn: Path, tmp_path: Path, run: Run
) -> None:
    output = tmp_path / "site"
    printed = run(records, "--output", output, "--count", 50, "--input", drawn)
    assert printed == f"wrote a site of 50 examples, which begins with {output / 'index.html'}\n"
    names = {path.name for path in output.iterdir()}
    assert {"index.html", "page-0002.html", "example-00050.html", "about.html"} <= names and len(names) == 53
    for path in output.iterdir():
        text = path.read_text()
        page = Page(text)
        assert SCRIPT_POLICY in page.all("meta")[3]["content"] and text.count("<script") == 1 and not page.all("form")
        for tag, attrs in page.tags:
            for name in ("src", "href", "srcset", "poster", "data", "xlink:href"):
                value = attrs.get(name, "#")
                assert value.startswith(("#", "data:")) or (tag == "a" and value in names), (path.name, tag, value)
        assert str(tmp_path) not in text and str(records) not in text and str(drawn) not in text


def test_a_sample_is_decided_by_its_seed_and_in_stored_order(records: Path, tmp_path: Path, run: Run) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(records, "--output", tmp_path / name, "--count", 9, "--split", "train", "--seed", seed)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")
    stored = [each.key for each in tfrecords.open(records, "train")]
    first, other = _keys(tmp_path / "a"), _keys(tmp_path / "c")
    assert len(first) == len(set(first)) == 9 and first != other
    assert sorted(first, key=stored.index) == first


def test_a_small_dataset_is_shown_completely_and_a_stream_with_its_snapshots(tmp_path: Path, run: Run) -> None:
    output = tmp_path / "site"
    run(write_stream(tmp_path / "stream"), "--output", output)
    assert _keys(output) == ["train/a.png", "train/b.png", "train/c.png", "test/d.png"]
    assert "All of 4, in stored order" in (output / "index.html").read_text()
    assert "4 (shown)" in (output / "snapshots.html").read_text()


def test_only_its_own_site_is_replaced(tmp_path: Path, run: Run) -> None:
    photos, output = write_scenes(tmp_path / "photos"), tmp_path / "site"
    output.mkdir()
    run(photos, "--output", output, "--count", 5)
    before = _contents(output)
    assert "has a site already; --overwrite replaces it" in run(photos, "--output", output, code=1)
    run(photos, "--output", output, "--count", 2, "--overwrite")
    assert "example-00003.html" in before and not (output / "example-00003.html").exists()
    (output / "notes.txt").write_text("mine")
    assert "with notes.txt" in run(photos, "--output", output, "--overwrite", code=1)
    assert (output / "notes.txt").read_text() == "mine"
    for other in (photos, tmp_path / "photos" / "manifest.json"):
        assert "--output must be a new folder" in run(photos, "--output", other, "--overwrite", code=1)


def test_a_site_that_fails_leaves_nothing(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Views, "about", fail)
    photos = write_scenes(tmp_path / "photos")
    assert "No space left" in run(photos, "--output", tmp_path / "site", code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_keys_turn_the_pages_of_a_site(tmp_path: Path, run: Run) -> None:
    output = tmp_path / "site"
    run(write_scenes(tmp_path / "photos"), "--output", output)
    # From the second example to the third one, and from there to the list.
    for name, key in (("example-00002", "ArrowRight"), ("example-00003", "u")):
        press = f'document.dispatchEvent(new KeyboardEvent("keydown", {{key: "{key}"}}))'
        page = output / f"{name}.html"
        # Without its policy, which forbids the script of the test.
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
        page.write_text(text + f"<script>addEventListener('load', () => setTimeout(() => {{ {press} }}))</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=2000"]
    command = [browser(), *flags, "--dump-dom", (output / "example-00002.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.findall("<title>(.*?)</title>", done.stdout)[0].startswith("photos: ")
