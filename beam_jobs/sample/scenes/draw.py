"""Drawing on canvases of uint8: random colours, blending of masks, and masks in perspective."""

import cv2
import numpy as np

Color = tuple[int, int, int]


def color_near(rng: np.random.Generator, lightness: float, spread: float | None = None) -> Color:
    """Returns an RGB near a grey of `lightness`, 0 to 255: most things have little colour, a warm one."""
    wide = rng.choice((3.0, 10.0, 26.0)) if spread is None else spread
    warm, green = (abs(rng.normal(0, 1.2)) - rng.uniform(0, 0.8)) * wide, rng.normal(0, 0.3) * wide
    tones = np.array((lightness + warm - green, lightness + 0.15 * warm + green, lightness - warm - green))
    red, green, blue = np.clip(tones + rng.normal(0, 2, 3), 4, 251).astype(int).tolist()
    return red, green, blue


def shaded(color: Color, factor: float) -> Color:
    """Returns a colour, lighter or darker by a factor."""
    red, green, blue = (int(min(max(value * factor, 0), 255)) for value in color)
    return red, green, blue


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Returns a value whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: tuple[float, float]) -> np.ndarray:
    """Returns (height, width) float32 noise of about unit deviation, with blotches of `cell` height and width."""
    shape = (max(2, round(height / cell[0])), max(2, round(width / cell[1])))
    return cv2.resize(rng.standard_normal(shape, np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def add_light(canvas: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Returns a (height, width, 3) uint8 canvas plus (height, width) float32 grey values."""
    return cv2.add(canvas, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), dtype=cv2.CV_8U)


def blend(canvas: np.ndarray, mask: np.ndarray, color: np.ndarray | Color, at: tuple[int, int] = (0, 0)) -> None:
    """Draws a colour over part of a canvas, in place.

    Args:
      canvas: (height, width, 3) uint8.
      mask: (rows, columns) uint8, opacity of the part.
      color: (3,) RGB, or (rows, columns, 3).
      at: Left and top of the part, which is inside the canvas.
    """
    left, top = at
    rows, columns = mask.shape
    part = canvas[top : top + rows, left : left + columns]
    share = cv2.merge([mask.astype(np.float32) * np.float32(1 / 255)] * 3)
    part[:] = part + (np.asarray(color, np.float32) - part) * share


def moved(x: float, y: float) -> np.ndarray:
    """Returns the (3, 3) matrix that moves by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


def warp_part(mask: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Returns the coverage of a picture by a mask in perspective, as a part and its left and top.

    Args:
      mask: (rows, columns) uint8.
      matrix: (3, 3) homography from the mask's pixels to the picture's.
      size: Width and height of the picture.

    Returns:
      None if nothing of the mask is in the picture.
    """
    corners = project(matrix, np.array([(x, y) for x in (0, mask.shape[1]) for y in (0, mask.shape[0])], float))
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, size).astype(int)
    if (high <= low).any():
        return None
    scale = float((corners.max(axis=0) - corners.min(axis=0)).max()) / max(mask.shape)
    if scale < 0.7:
        # A mask is reduced before it is warped, which reads four pixels for one.
        small = (max(2, round(mask.shape[1] * scale * 1.4)), max(2, round(mask.shape[0] * scale * 1.4)))
        matrix = matrix @ np.diag((mask.shape[1] / small[0], mask.shape[0] / small[1], 1))
        mask = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)
    # Centres of pixels are at half of a pixel.
    matrix = moved(-low[0] - 0.5, -low[1] - 0.5) @ matrix @ moved(0.5, 0.5)
    width, height = (high - low).tolist()
    part = cv2.warpPerspective(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
    if scale > 1.5:
        # Enlarged edges are as soft as `scale` pixels; a number close by has sharp ones.
        part = _sharp(part, scale)
    return part, (int(low[0]), int(low[1]))


def _sharp(part: np.ndarray, factor: float) -> np.ndarray:
    sharp: np.ndarray = np.clip((part.astype(np.float32) - 127.5) * factor + 127.5, 0, 255).astype(np.uint8)
    return sharp


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns (n, 2) points (x, y) mapped by a (3, 3) homography."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    flat: np.ndarray = mapped[:, :2] / mapped[:, 2:]
    return flat


def fill(canvas: np.ndarray, points: np.ndarray, color: Color | int) -> None:
    """Fills a polygon of (n, 2) float points, with soft edges, in place."""
    fixed = np.round((points - 0.5) * 16).astype(np.int32)
    shown = color if isinstance(color, tuple) else (color,)
    cv2.fillPoly(canvas, [fixed], shown, cv2.LINE_AA, 4)
