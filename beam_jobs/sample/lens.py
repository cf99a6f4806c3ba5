"""What cameras and their software add to a picture: few pixels, overexposure, fringes of colour, sharpened edges."""

import cv2
import numpy as np

from beam_jobs.sample.difficulty import Style

_FEWEST_PIXELS = 7  # Height of a digit in the pixels of the poorest camera.


def expose(rng: np.random.Generator, image: np.ndarray, share: float) -> np.ndarray:
    """Returns a float image of 0 to 255 with more contrast than the camera takes, in a `share` of the pictures."""
    if not share or rng.random() > share:
        return image
    middle = rng.uniform(60, 190)
    exposed: np.ndarray = (image - middle) * rng.uniform(1.1, 1.7) + middle + rng.uniform(-20, 30)
    return exposed


def few_pixels(rng: np.random.Generator, image: np.ndarray, digit_height: float, share: float) -> np.ndarray:
    """Returns an (height, width, 3) uint8 image enlarged from fewer pixels, in a `share` of the pictures."""
    if not share or rng.random() > share:
        return image
    scale = rng.uniform(_FEWEST_PIXELS, 16) / digit_height
    if scale >= 1:
        return image
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(4, round(width * scale)), max(4, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    way = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (width, height), interpolation=way))


def add_fringe(rng: np.random.Generator, image: np.ndarray, digit_height: float, share: float) -> np.ndarray:
    """Returns an image whose red and blue are shifted against green, in a `share` of the pictures."""
    if not share or rng.random() > share:
        return image
    shift = rng.normal(0, 0.03, 2) * digit_height
    size = image.shape[1::-1]
    channels = list(cv2.split(image))
    for channel, sign in ((0, 1), (2, -1)):
        matrix = np.array(((1, 0, sign * shift[0]), (0, 1, sign * shift[1])))
        channels[channel] = cv2.warpAffine(channels[channel], matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.merge(channels))


def sharpen(rng: np.random.Generator, image: np.ndarray, digit_height: float, share: float) -> np.ndarray:
    """Returns a uint8 image with halos along its edges, as software that sharpens makes, in a `share` of pictures."""
    if not share or rng.random() > share:
        return image
    soft = cv2.GaussianBlur(image, (0, 0), max(0.6, rng.uniform(0.03, 0.12) * digit_height))
    amount = rng.uniform(0.4, 2)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0))


def camera(rng: np.random.Generator, image: np.ndarray, digit_height: float, style: Style) -> np.ndarray:
    """Returns an (height, width, 3) uint8 image with few pixels, fringes and halos, in the shares of `style`."""
    image = few_pixels(rng, image, digit_height, style.few_pixels)
    return sharpen(rng, add_fringe(rng, image, digit_height, style.fringe), digit_height, style.sharpen)
