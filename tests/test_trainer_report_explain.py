"""The page of `explain`: what it shows, says and leaves out, and how a browser shows it. No network is computed."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pages import Page, browser, screenshot, show
from trainer.inside.barcode import Barcodes
from trainer.inside.features import FeatureMaps
from trainer.inside.kernels import KernelGrid
from trainer.inside.layers import LayerRow, ModelSize
from trainer.report.evidence import Evidence, Look, Subject, first_of_classes
from trainer.report.explain import Answers, Source, render
from trainer.report.gallery import choose
from trainer.report.pictures import all_pictures, first_kernels, look_pictures
from trainer.report.room import MOST_BYTES, write_pictures
from trainer.scoring.prediction_file import Prediction

HOSTILE = '<script>alert("1")</script>&'
SECTIONS = {"contents", "layers", "looks", "barcode", "kernels", "maps", "confusion", "mistakes", "reliability"}
_RNG = np.random.default_rng(5)


def _noise(*shape: int) -> np.ndarray:
    return _RNG.integers(0, 256, shape, np.uint8)


def _look(name: str) -> Look:
    subject = Subject(name, f"{name}: 27", f"{HOSTILE} read as 27.", _noise(24, 20, 3), "27", 2)
    heat = _RNG.random((24, 20)).astype(np.float32)
    maps = [FeatureMaps(f"conv/{index}", _noise(200, 300, 1), -1.5, 2.25, (9, 9, 6), 4, 3) for index in range(2)]
    return Look(subject, maps, heat, heat - 0.5, np.stack([heat, heat]))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    rows = [
        LayerRow(
            "a_very_long_name_of_a_layer_that_does_not_break", "Conv2D", "32 of 3x3, relu", "27 x 27 x 32", 896, 896
        )
    ]
    kernels = [KernelGrid("conv/0", _noise(97, 289, 1), -0.5, 0.25, (3, 3, 8, 32), 3, (8, 24))]
    means, differences = _RNG.random((2, 16)).astype(np.float32), _RNG.normal(size=(2, 3, 16)).astype(np.float32)
    differences[1, 2] = np.nan
    codes = Barcodes("pooled", "27", means, differences, np.array([50, 2]))
    return Evidence(rows, ModelSize(12345, 12000, 49380), kernels, [], codes, 4, [_look("class-02"), _look("class-07")])


@pytest.fixture(scope="module")
def answers() -> Answers:
    rows = [Prediction(f"test/{i}", "27", "27" if i % 3 else "21", (i + 1) / 60, bool(i % 3)) for i in range(60)]
    rows[0] = Prediction(HOSTILE, "27", "21", 1.0, False)
    confusion = np.zeros((10, 10), int)
    confusion[2, 2], confusion[7, 7], confusion[7, 1] = 60, 40, 20
    scores = {"whole_number_accuracy": 2 / 3, "alphabet": "0123456789", "confusion": confusion.tolist()}
    chosen = choose(rows)
    keys = [one.key for one in (*chosen.wrong, *chosen.unsure)]
    return Answers(rows, scores, chosen, {key: _noise(8, 9, 3) for key in keys})


SOURCE = Source("run-1", "compact", "svhn", "test", 500, ("Only the first 60 of 500 examples are predicted.",))


def test_examples_of_each_class_are_the_first_ones() -> None:
    first = np.array([3, 1, 3, 10, 3, 1, 0])
    assert first_of_classes(first, 10, 2).tolist() == [0, 1, 2, 5, 6]
    assert first_of_classes(np.array([10]), 10, 2).tolist() == []


def test_the_page_names_every_picture_and_says_what_each_shows(evidence: Evidence, answers: Answers) -> None:
    explanation = render(SOURCE, answers, evidence)
    parsed = Page(explanation.html)
    parsed.check_self_contained()
    assert {attrs.get("id") for attrs in parsed.all("section")} == SECTIONS
    assert {attrs["href"] for attrs in parsed.all("a")} == {f"#{name}" for name in SECTIONS}
    # Of each look image, saliency, occlusion and two positions; two strips a class; 20 wrong, 12 unsure; kernels; maps.
    assert len(parsed.all("img")) == explanation.num_pictures == 2 * 5 + 2 * 2 + 32 + 1 + 2 * 2
    assert all(attrs["alt"] for attrs in parsed.all("img"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    # What scrolls can be reached and scrolled by keyboard, and has a name.
    scrolled = [attrs for attrs in parsed.all("div") if "scroll" in attrs.get("class", "").split()]
    assert scrolled and all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in scrolled)
    text = " ".join(parsed.text.split()).replace("\u00a0", " ")
    for words in ("12,345 weights", "60 of the 500 examples", "66.7 % of them right", "black -0.5, white 0.25"):
        assert words in text
    assert "Only the first 8 rows and 24 columns are drawn." in text and HOSTILE in parsed.text
    assert explanation.notes == SOURCE.notes and "Only the first 60 of 500" in text


def test_shares_of_the_confusion_matrix_are_those_of_its_rows(evidence: Evidence, answers: Answers) -> None:
    html = render(SOURCE, answers, evidence).html
    assert all(html.count(f">{share}</td>") == 1 for share in ("66.7", "33.3", "100.0"))


def test_the_calibration_error_is_stated(evidence: Evidence, answers: Answers) -> None:
    # By hand: ten intervals, each of six predictions but the first, of which the surest moved to the last.
    error = 0.0
    for index in range(10):
        inside = [one for one in answers.rows if index / 10 + 1e-9 < one.confidence <= (index + 1) / 10 + 1e-9]
        gap = sum(one.confidence for one in inside) - sum(one.correct for one in inside)
        error += abs(gap) / len(answers.rows)
    assert f"(ECE) is {100 * error:.1f}\u00a0%" in render(SOURCE, answers, evidence).html


def test_equal_evidence_gives_the_same_page_and_the_same_files(
    evidence: Evidence, answers: Answers, tmp_path: Path
) -> None:
    assert render(SOURCE, answers, evidence) == render(SOURCE, answers, evidence)
    count = write_pictures(tmp_path / "one", all_pictures(evidence))
    assert write_pictures(tmp_path / "two", all_pictures(evidence)) == count == 1 + 2 + 2 * (5 + 2)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) == count and {"kernels-01-conv_0.png", "maps-class-02-02-conv_1.png"} <= set(files)
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / "kernels-01-conv_0.png") as picture:
        written = np.asarray(picture)
    np.testing.assert_array_equal(written, evidence.kernels[0].image[..., 0])


def test_pictures_without_room_are_counted_and_named(evidence: Evidence, answers: Answers) -> None:
    full = render(SOURCE, answers, evidence)
    small = render(SOURCE, answers, evidence, most_bytes=150_000)
    assert len(small.html) < 150_000 < len(full.html) < MOST_BYTES
    text = Page(small.html).text
    missing = re.findall(r"left out: (\S+)\.png", text)
    assert missing and set(missing) < {one.name for one in all_pictures(evidence)}
    assert small.num_pictures == full.num_pictures - len(missing)
    assert small.notes[1] == f"The page has no room for {len(missing)} pictures; `--png DIR` writes them to files."
    assert f"no room for {len(missing)} pictures; --png DIR writes" in " ".join(text.split())


def test_of_many_kernels_the_page_shows_the_first_ones(evidence: Evidence, answers: Answers) -> None:
    # 8 x 24 kernels of 3x3 at 3 pixels a weight, with lines of a pixel: half as many rows and columns for a quarter.
    part = first_kernels(evidence.kernels[0], most=8 * 24 * 9 // 4)
    assert part.drawn == (4, 12) and part.image.shape == (4 * 10 + 1, 12 * 10 + 1, 1)
    np.testing.assert_array_equal(part.image, evidence.kernels[0].image[:41, :121])
    assert first_kernels(evidence.kernels[0], most=8 * 24 * 9) is evidence.kernels[0]
    many = replace(evidence.kernels[0], image=_noise(1201, 1201, 1), shape=(3, 3, 300, 300), factor=1, drawn=(300, 300))
    explanation = render(SOURCE, answers, replace(evidence, kernels=[many]))
    assert "only the first kernels of 1 layer;" in explanation.notes[1]
    assert "Only the first 129 rows and 129 columns are drawn." in explanation.html


def test_a_model_without_convolutions_barcode_and_attention_says_so(evidence: Evidence, answers: Answers) -> None:
    look = evidence.looks[0]
    bare = Look(look.subject, [], look.saliency, np.zeros_like(look.occlusion), None)
    explanation = render(SOURCE, answers, Evidence(evidence.layers, evidence.size, [], [], None, 4, [bare]))
    text = Page(explanation.html).text
    for words in ("has no convolution", "has no attention", "so it has no barcode"):
        assert words in text
    assert [one.title for one in look_pictures(bare)] == ["Image", "Saliency", "Occlusion"]


@pytest.mark.parametrize(
    ("nats", "caption"), [(0.0, "below 0.01 nats"), (3.3e-7, "below 0.01 nats"), (0.324, "up to 0.32 nats")]
)
def test_the_caption_of_occlusion_states_the_largest_loss(nats: float, caption: str, evidence: Evidence) -> None:
    look = replace(evidence.looks[0], occlusion=np.full_like(evidence.looks[0].occlusion, nats))
    (occlusion,) = (one for one in look_pictures(look) if one.title == "Occlusion")
    assert occlusion.caption == caption


def test_names_of_files_are_all_different(evidence: Evidence) -> None:
    names = [one.name for one in all_pictures(evidence)]
    assert len(set(names)) == len(names)


def test_a_browser_shows_the_page_at_phone_width_in_light_and_dark(
    evidence: Evidence, answers: Answers, tmp_path: Path
) -> None:
    browser()
    html = render(SOURCE, answers, evidence).html
    light, dark = show(html, tmp_path), show(html, tmp_path, dark=True)
    assert (light.window_width, light.is_dark, dark.is_dark) == (360, False, True)
    assert light.content_width <= 360 and dark.content_width <= 360
    assert light.background != dark.background
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    screenshot(tmp_path / "page.html", tmp_path / "page.png")
    shown = np.asarray(Image.open(io.BytesIO((tmp_path / "page.png").read_bytes())).convert("RGB"))
    assert shown.shape == (800, 360, 3) and len(np.unique(shown.reshape(-1, 3), axis=0)) > 50
