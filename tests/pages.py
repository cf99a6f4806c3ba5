"""What tests ask of HTML pages: their elements and texts, and how a browser shows them."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

VOID = {"meta", "link", "img", "input", "br", "path", "circle", "rect", "hr"}
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage")
_DARK = "--blink-settings=preferredColorScheme=0"
_CONTENT_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_MEASURE = """<script>document.title = [document.scrollingElement.scrollWidth, innerWidth,
matchMedia("(prefers-color-scheme: dark)").matches, getComputedStyle(document.body).backgroundColor].join("|")</script>
"""


class Page(HTMLParser):
    """What the tests ask of a page; fails where elements are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]

    def check_self_contained(self) -> None:
        """Asserts that the page loads nothing and runs nothing."""
        assert not self.all("script") and not self.all("iframe")
        for tag, attrs in self.tags:
            for name in ("src", "href", "srcset", "poster", "data", "xlink:href"):
                assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs)


@dataclass(frozen=True)
class Shown:
    """A page as a browser lays it out.

    Attributes:
      content_width: Width of the content, CSS pixels; above `window_width` the page scrolls sideways.
      window_width: Width of the window, CSS pixels.
      is_dark: Whether the browser asks for dark pages.
      background: Colour behind the page, as `rgb(247, 247, 245)`.
    """

    content_width: int
    window_width: int
    is_dark: bool
    background: str


def browser() -> str:
    """Returns the path of a Chromium; where there is none, skips the test."""
    for name in _BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser to look at pages with: none of {', '.join(_BROWSERS)} is installed")


def show(html: str, folder: Path, width: int = 360, dark: bool = False) -> Shown:
    """Returns how a browser lays a page out in a window of a width, CSS pixels."""
    page = folder / "measured.html"
    page.write_text(_CONTENT_POLICY.sub("", html) + _MEASURE, encoding="utf-8")
    flags = [*_FLAGS, f"--window-size={width},800", "--dump-dom", *([_DARK] if dark else [])]
    done = subprocess.run([browser(), *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    content, window, is_dark, background = re.findall("<title>(.*?)</title>", done.stdout)[0].split("|")
    return Shown(int(content), int(window), is_dark == "true", background)


def screenshot(page: Path, output: Path, width: int = 360, height: int = 800) -> None:
    """Writes a PNG file of the top of a page, as it is."""
    flags = [*_FLAGS, f"--window-size={width},{height}", f"--screenshot={output}"]
    subprocess.run([browser(), *flags, page.as_uri()], capture_output=True, timeout=120, check=True)
