"""The camera: exposure and colour, a smaller sensor, blur, motion, noise and the JPEG file."""

import cv2
import numpy as np

from beam_jobs.sample.scenes.content import SceneStyle
from beam_jobs.sample.scenes.draw import log_uniform

_LEAST_PX = 7.0  # Height of a digit on the sensor that can still be read.


def photograph(rng: np.random.Generator, canvas: np.ndarray, digit_px: float, style: SceneStyle) -> np.ndarray:
    """Returns (height, width, 3) uint8: a canvas as a camera takes it.

    Args:
      rng: Random generator.
      canvas: (height, width, 3) uint8, RGB.
      digit_px: Height of the smallest digit, pixels, which bounds the blur.
      style: Shares and ranges.
    """
    image = _expose(rng, canvas)
    height, width = image.shape[:2]
    if rng.random() < style.zoomed and digit_px > _LEAST_PX:
        factor = rng.uniform(max(0.35, _LEAST_PX / digit_px), 1)
        small = (max(8, round(width * factor)), max(8, round(height * factor)))
        kind = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
        image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=kind)
    sigma = digit_px * (0.005 + 0.085 * rng.uniform() ** 2.2)
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), min(sigma, 5.0))
    if rng.random() < style.smear:
        length = max(2, round(rng.uniform(0.05, 0.2) * digit_px))
        image = cv2.blur(image, (length, 1) if rng.random() < 0.7 else (1, length))
    return _add_noise(rng, image)


def encode(rng: np.random.Generator, image: np.ndarray, style: SceneStyle) -> bytes:
    """Returns the JPEG file of a (height, width, 3) uint8 RGB image."""
    low, high = style.quality
    # Most cameras compress little: the square root leaves a quarter of the files below the middle of the range.
    quality = round(low + (high - low) * float(np.sqrt(rng.uniform())))
    return cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def _expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Returns a canvas with another exposure, contrast and white balance."""
    level = np.linspace(0, 1, 256)
    gain = float(np.clip(rng.lognormal(-0.02, 0.32), 0.3, 1.4))
    # Light is bluer or yellower rather than greener; the sky's, in which most photos of streets are taken, is blue.
    warmth = rng.normal(-0.04, 0.07)
    balance = np.clip(np.array((1 + warmth, 1, 1 - warmth)) + rng.normal(0, 0.025, 3), 0.75, 1.25)
    power = log_uniform(rng, 0.75, 1.35)
    # Dark pictures are lifted by the air between: fewer greys.
    floor = rng.choice((0.0, 0.0, rng.uniform(0, 0.3)))
    bright = level[:, np.newaxis] ** power * gain * balance
    # Film and sensors do not end at white at once: three quarters of it are as they are.
    bright = np.where(bright < 0.75, bright, 0.75 + 0.25 * np.tanh((bright - 0.75) / 0.25))
    table = floor + (1 - floor) * bright
    return cv2.LUT(canvas, (table * 255).astype(np.uint8)[np.newaxis])


def _add_noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    noise = rng.standard_normal((height, width), np.float32) * np.float32(log_uniform(rng, 0.4, 7))
    if rng.random() < 0.5:
        return cv2.add(image, cv2.cvtColor(noise, cv2.COLOR_GRAY2BGR), dtype=cv2.CV_8U)
    # Noise of colour is coarser than that of light: sensors have fewer red and blue pixels.
    coarse = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), np.float32) * np.float32(rng.uniform(0.5, 5))
    colored = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.add(image, colored + noise[..., np.newaxis], dtype=cv2.CV_8U)
