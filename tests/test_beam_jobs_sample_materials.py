"""Materials and cameras: each changes what it is for, in the share of pictures that the style gives it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from beam_jobs.sample import lens
from beam_jobs.sample.difficulty import STYLES, Style
from beam_jobs.sample.glyphs import find_faces
from beam_jobs.sample.materials import add_obstacle, add_reflection, add_screws, add_tiles, paint
from beam_jobs.sample.photo import draw_photo
from beam_jobs.sample.scenery import Scene, hued_color

MATERIALS = ("outline", "contour", "relief", "gradient", "neon", "worn")
LOOKS = ("tiles", "screws", "reflection", "obstacle", "overexposed", "few_pixels", "fringe", "sharpen")
SCENE = Scene(np.array((80, 60)), 30.0, 25.0, np.eye(3), np.array((15.0, 15.0)), np.array((65.0, 45.0)))
DARK = np.array((40.0, 40, 40))


def disc_on_grey() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:60, :80]
    ink = np.where((rows - 30) ** 2 + (columns - 40) ** 2 < 144, 255, 0).astype(np.uint8)
    return np.full((60, 80, 3), 150, np.float32), ink


def painted(material: str | None) -> np.ndarray:
    shares: dict[str, Any] = {material: 1.0} if material else {}
    style = replace(Style(), **shares)
    return paint(np.random.default_rng(0), *disc_on_grey(), DARK, SCENE, style)


def test_flat_paint_covers_the_ink_and_nothing_else() -> None:
    flat, (ground, ink) = painted(None), disc_on_grey()
    assert np.allclose(flat[ink == 255], DARK) and np.array_equal(flat[ink == 0], ground[ink == 0])


def test_an_outline_leaves_the_inside_as_the_ground() -> None:
    outlined = painted("outline")
    assert np.allclose(outlined[30, 40], 150) and outlined[:, :, 0].min() == pytest.approx(40)


def test_a_contour_has_a_second_colour_outside_the_ink() -> None:
    image, (ground, ink) = painted("contour"), disc_on_grey()
    assert np.allclose(image[ink == 255], DARK)
    assert 0 < (image[ink == 0] != ground[ink == 0]).any(axis=1).mean() < 0.2


def test_a_relief_is_lighter_on_one_side_than_on_the_other() -> None:
    image = painted("relief").mean(axis=2)
    changes = image - image[30, 40]
    ring = changes[disc_on_grey()[1] == 255]
    assert ring.max() > 10 and ring.min() < -10


def test_a_gradient_changes_from_the_top_to_the_bottom_of_the_ink() -> None:
    column = painted("gradient")[19:42, 40, 0]
    assert np.all(np.diff(column) > 0) or np.all(np.diff(column) < 0)


def test_neon_lightens_its_surroundings_more_than_what_is_far() -> None:
    image = painted("neon").mean(axis=2)
    assert image[30, 54] > image[2, 2]


def test_worn_paint_lets_the_ground_through_in_places() -> None:
    inside = painted("worn")[disc_on_grey()[1] == 255][:, 0]
    assert inside.min() == pytest.approx(40, abs=1) and inside.max() > 45


@pytest.mark.parametrize("add", [add_reflection, add_obstacle, add_screws])
def test_an_addition_appears_in_its_share_of_pictures(add: Callable[..., np.ndarray]) -> None:
    ground = disc_on_grey()[0]
    seeds = range(60)
    changed = [not np.array_equal(add(np.random.default_rng(i), ground, SCENE, 0.5), ground) for i in seeds]
    assert 0.3 < np.mean(changed) < 0.7
    assert add(np.random.default_rng(0), ground, SCENE, 0.0) is ground


def test_each_digit_has_its_tile() -> None:
    ground, _ = disc_on_grey()
    masks = [np.zeros((60, 80), np.uint8) for _ in range(2)]
    masks[0][20:40, 20:30], masks[1][20:40, 50:60] = 255, 255
    tiled = add_tiles(np.random.default_rng(1), ground, SCENE, masks, 1.0)
    assert (tiled[30, 25] != 150).any() and (tiled[30, 55] != 150).any()
    assert (tiled[30, 40] == 150).all() and (tiled[5, 5] == 150).all()


def test_few_pixels_leave_fewer_differences_between_neighbours() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    coarse = lens.few_pixels(np.random.default_rng(1), noise, 30.0, 1.0)
    assert coarse.shape == noise.shape
    assert np.abs(np.diff(coarse.astype(int), axis=1)).mean() < 0.5 * np.abs(np.diff(noise.astype(int), axis=1)).mean()


def test_sharpening_overshoots_at_an_edge() -> None:
    step = np.repeat(np.where(np.arange(80) < 40, 90, 160)[np.newaxis, :, np.newaxis], 3, axis=2).astype(np.uint8)
    step = np.repeat(step, 60, axis=0)
    halo = lens.sharpen(np.random.default_rng(0), step, 30.0, 1.0)
    assert halo.min() < 88 and halo.max() > 162


def test_a_fringe_moves_red_and_blue_apart_and_leaves_green() -> None:
    ground, ink = disc_on_grey()
    image = np.where(ink[..., np.newaxis] > 0, 30, ground).astype(np.uint8)
    fringed = lens.add_fringe(np.random.default_rng(3), image, 30.0, 1.0)
    assert np.array_equal(fringed[..., 1], image[..., 1])
    assert (fringed[..., 0] != fringed[..., 2]).any()


def test_a_strong_colour_keeps_its_lightness() -> None:
    for index in range(20):
        color = hued_color(np.random.default_rng(index), 80.0)
        assert abs(color.mean() - 80) < 8 and color.max() - color.min() > 30


@pytest.mark.parametrize("look", MATERIALS + LOOKS)
def test_each_look_changes_pictures_and_draws_them_again_from_the_same_generator(look: str) -> None:
    shares: dict[str, Any] = {look: 1.0}
    style = replace(STYLES["street"], **shares)
    one, again = (draw_photo(np.random.default_rng(2), find_faces()[:2], (4, 0), style) for _ in range(2))
    street = draw_photo(np.random.default_rng(2), find_faces()[:2], (4, 0), STYLES["street"])
    assert np.array_equal(one.pixels, again.pixels)
    assert not np.array_equal(one.pixels, street.pixels)
