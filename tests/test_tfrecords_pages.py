"""Parts that pages share: images as URIs, whose page is whose, and what a template may not forget."""

import base64
import io
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from tests.pages import Page
from tfrecords.errors import UserError
from tfrecords.pages.page import check_output, grey_data_uri, jpeg_data_uri, png_data_uri, render_page, write_page

COMMAND = "python -m trainer show-me"
TEMPLATE = """{% extends 'base.html' %}{% from 'macros.html' import absent, incomplete, pairs %}
{% block title %}{{ name }}{% endblock %}
{% block main %}{{ incomplete(['run `a<b`']) }}{{ pairs('c', [('k', name)]) }}{{ absent('Gone.', 'make') }}
{% endblock %}"""


def _render(folder: Path, **values: object) -> str:
    (folder / "own.html").write_text(TEMPLATE)
    return render_page(folder / "own.html", COMMAND, values)


def test_a_page_has_the_skeleton_its_own_blocks_and_the_command_that_makes_it(tmp_path: Path) -> None:
    html = _render(tmp_path, name="<b>")
    parsed = Page(html)
    parsed.check_self_contained()
    assert html.startswith("<!DOCTYPE html>") and "<b>" not in html
    assert "Created by python -m trainer show-me." in parsed.text and "a<b" in parsed.text
    assert "prefers-color-scheme: dark" in html


def test_a_variable_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="'name' is undefined"):
        _render(tmp_path)


def test_a_page_is_replaced_by_its_own_command_only(tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    check_output(output, COMMAND)
    write_page(output, _render(tmp_path, name="x"))
    check_output(output, COMMAND)
    with pytest.raises(UserError, match=r"must be a new file, or a page of an earlier report\. Received: "):
        check_output(output, "python -m trainer report")


def test_a_grey_image_keeps_black_and_white_and_is_near_everywhere() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 1), np.uint8)
    image[0, :2, 0] = 0, 255
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(grey_data_uri(image).partition(",")[2]))).convert("L"))
    assert read.shape == (40, 30) and read[0, :2].tolist() == [0, 255]
    assert np.abs(read.astype(int) - image[..., 0]).max() <= 8
    assert len(grey_data_uri(image)) < 0.7 * len(png_data_uri(image))


def test_a_jpeg_keeps_the_colour_of_thin_lines() -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    image[20, 8:56] = (230, 60, 60)
    uri = jpeg_data_uri(image)
    assert uri.startswith("data:image/jpeg;base64,")
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert read.shape == image.shape and np.abs(read[20, 10:54].astype(int) - (230, 60, 60)).max() <= 40
