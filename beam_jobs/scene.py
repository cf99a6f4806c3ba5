"""A number's plane in a picture: glyphs as masks, and the homographies that place them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

_GLYPH_PX = 96  # larger than any digit drawn, so glyphs are only ever made smaller
BORDER_PX = 2  # empty pixels round a glyph, for its edge to be interpolated against
OVERSAMPLING = 2


@dataclass(frozen=True)
class Scene:
    """Where a number stands, in pixels: `matrix` maps its plane, origin at its centre, to the picture.

    `size` is the picture's (width, height), `low` and `high` the number's least and greatest (x, y) in it.
    """

    size: np.ndarray
    digit_height: float
    half_width: float
    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray


@cache
def glyph_mask(face: str, digit: int, stroke: int) -> Image.Image:
    """Coverage (L) of one digit, tight but for `BORDER_PX` on every side; `stroke` pixels bolder."""
    font = ImageFont.truetype(face, _GLYPH_PX, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (2 * _GLYPH_PX, 2 * _GLYPH_PX))
    ImageDraw.Draw(image).text((40, 20), str(digit), fill=255, font=font, stroke_width=stroke)
    return ImageOps.expand(image.crop(image.getbbox()), BORDER_PX)


def similarity(angle: float, x: float, y: float) -> np.ndarray:
    """(3, 3): turns by `angle` radians, then moves by (x, y) pixels."""
    return np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y], [0, 0, 1]])


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps (n, 2) points (x, y) by a (3, 3) homography."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def warp(mask: Image.Image, matrix: np.ndarray, scene: Scene) -> np.ndarray:
    """Coverage (height, width) uint8 of `mask`, whose pixels `matrix` maps to the picture's."""
    coverage = np.zeros(scene.size[::-1], np.uint8)
    corners = project(matrix, np.array([(x, y) for x in (0, mask.width) for y in (0, mask.height)]))
    low, high = np.clip((np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))), 0, scene.size).astype(int)
    if (high > low).all():
        # Only where the mask falls: the whole picture takes 5 times as long.
        inverse = np.linalg.inv(np.diag((OVERSAMPLING, OVERSAMPLING, 1)) @ similarity(0, *-low) @ matrix)
        coefficients, size = tuple((inverse / inverse[2, 2]).ravel()[:8]), tuple((high - low) * OVERSAMPLING)
        warped = mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        coverage[low[1] : high[1], low[0] : high[0]] = warped.reduce(OVERSAMPLING)
    return coverage
