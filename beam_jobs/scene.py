"""A number's plane in a picture, and the homographies that place masks in it."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

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
