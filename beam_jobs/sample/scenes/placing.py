"""Places in a picture: the plane of the wall, and letters in it that overlap nothing else."""

from dataclasses import dataclass, field

import numpy as np

from beam_jobs.sample.scenes.draw import moved, project
from beam_jobs.sample.scenes.lettering import Lettering, rotation

_TRIES = 6
_SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)


@dataclass(frozen=True)
class Stage:
    """A picture's size and wall, and what is taken.

    Attributes:
      width: Width of the picture, pixels.
      height: Height of the picture, pixels.
      wall: (3, 3) homography from the wall's plane, whose origin is in the middle of the picture, to the picture.
      taken: Boxes (left, top, right, bottom) that nothing else may overlap.
    """

    width: int
    height: int
    wall: np.ndarray
    taken: list[np.ndarray] = field(default_factory=list)


def stage(rng: np.random.Generator, width: int, height: int) -> Stage:
    """Returns a picture's stage, whose wall is seen from the front or at an angle."""
    matrix = moved(width / 2, height / 2)
    if rng.random() < 0.75:
        tilted = np.eye(3)
        tilted[0, 1] = np.clip(rng.normal(0, 0.04), -0.1, 0.1)
        tilted[2, 0] = np.clip(rng.normal(0, 0.12), -0.3, 0.3) / (width / 2)
        tilted[2, 1] = np.clip(rng.normal(0, 0.06), -0.15, 0.15) / (height / 2)
        # Seen at an angle, a wall is narrower too.
        squeezed = np.diag((1 - abs(tilted[2, 0]) * width / 2 * rng.uniform(0, 1), 1, 1))
        matrix = matrix @ rotation(np.clip(rng.normal(0, 0.04), -0.15, 0.15)) @ tilted @ squeezed
    return Stage(width, height, matrix)


def corners_of(half_size: np.ndarray, matrix: np.ndarray, pad: float = 0.0) -> np.ndarray:
    """Returns (4, 2) corners in the picture of a rectangle in a plane."""
    return project(matrix, _SQUARE * (half_size + pad))


def place(
    rng: np.random.Generator,
    stage: Stage,
    lettering: Lettering,
    width: float,
    least_unit: float,
    turn: tuple[float, float],
) -> np.ndarray | None:
    """Returns the (3, 3) homography from the letters' plane to the picture, and marks the place as taken.

    Args:
      rng: Random generator.
      stage: Picture.
      lettering: Letters or digits.
      width: Width in the picture, pixels; less if the picture is too low for it.
      least_unit: Minimum height of a digit, pixels, which comes before the width.
      turn: Standard deviation and maximum of a rotation, radians.

    Returns:
      None if there is no free place.
    """
    slant = np.eye(3)
    slant[0, 1] = np.clip(rng.normal(0, 0.1), -0.25, 0.25)
    own = rotation(np.clip(rng.normal(0, turn[0]), -turn[1], turn[1])) @ slant
    room = np.array((stage.width, stage.height), float) - 4
    back = np.linalg.inv(stage.wall)
    unit = width / (2 * lettering.half_size[0])
    middle = room / 2 + 2
    for _ in range(_TRIES):
        matrix, low, high = _at(stage, back, own, middle, unit, lettering)
        size = high - low
        unit = max(unit * min(width / size[0], 0.94 * room[1] / size[1]), 1.1 * least_unit)
        matrix, low, high = _at(stage, back, own, middle, unit, lettering)
        size = high - low
        if (size > room).any():
            return None
        # From where it is now, the letters may move as far as their box stays in the picture.
        middle = middle + rng.uniform(2 - low, room + 2 - high)
        matrix, low, high = _at(stage, back, own, middle, unit, lettering)
        inside = (low >= 1).all() and (high <= room + 3).all()
        if inside and not any(_overlap(low, high, box) for box in stage.taken):
            stage.taken.append(np.concatenate([low - 0.25 * unit, high + 0.25 * unit]))
            return matrix
        middle = room / 2 + 2
    return None


def _at(
    stage: Stage, back: np.ndarray, own: np.ndarray, middle: np.ndarray, unit: float, lettering: Lettering
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the homography of letters around a point of the picture, and their box's low and high corners."""
    (point,) = project(back, middle[np.newaxis])
    matrix = stage.wall @ moved(*point) @ own @ np.diag((unit, unit, 1))
    corners = corners_of(lettering.half_size, matrix)
    return matrix, corners.min(axis=0), corners.max(axis=0)


def _overlap(low: np.ndarray, high: np.ndarray, box: np.ndarray) -> bool:
    return bool((low < box[2:]).all() and (high > box[:2]).all())
