"""Pages of explanations: the bytes that their pictures may take, and the same pictures as files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfrecords.files.publish import atomic_write
from tfrecords.pages.page import grey_data_uri, png_data_uri
from tfrecords.record.codec import png_bytes
from trainer.report.pictures import Picture

COMMAND = "python -m trainer explain"
MOST_BYTES = 2_000_000
"""Largest size of a page, bytes."""
_SPARE_BYTES = 30_000
"""Bytes that are kept free: the words around a picture differ from those around one that is left out."""


@dataclass(frozen=True)
class Explanation:
    """A rendered page.

    Attributes:
      html: Content of the page.
      num_pictures: Number of pictures that it shows.
      notes: Sentences about what is left out.
    """

    html: str
    num_pictures: int
    notes: tuple[str, ...]


class Room:
    """The bytes that pictures may take on a page, given out in the order of asking.

    Attributes:
      left: Bytes that are left.
      shown: Number of pictures that got some.
      left_out: Number of pictures that there were no bytes for.
    """

    def __init__(self, size: int) -> None:
        """Takes the bytes of all pictures."""
        self.left, self.shown, self.left_out = size, 0, 0

    def colour(self, image: NDArray[np.uint8]) -> str:
        """Returns an image as a URI, or an empty text if there is no room for it."""
        return self._take(image, png_data_uri)

    def figures(self, pictures: list[Picture], is_grey: bool = False) -> list[tuple[Picture, str]]:
        """Returns each picture with its URI, which is empty if there is no room for it."""
        encode = grey_data_uri if is_grey else png_data_uri
        return [(one, self._take(one.image, encode)) for one in pictures]

    def uri(self, uri: str) -> str:
        """Returns a URI that there is room for, or an empty text."""
        if not uri or len(uri) > self.left:
            self.left_out += 1
            return ""
        self.left -= len(uri)
        self.shown += 1
        return uri

    def _take(self, image: NDArray[np.uint8], encode: Callable[[NDArray[np.uint8]], str]) -> str:
        return self.uri(encode(image) if self.left > 0 else "")


def render_in_room(render: Callable[[Room], Explanation], most_bytes: int) -> Explanation:
    """Returns a page of a size, on which pictures have the bytes that its words leave.

    Args:
      render: Function that renders the page with the pictures that a room has bytes for.
      most_bytes: Largest size of the page, bytes.
    """
    words = render(Room(0)).html
    return render(Room(most_bytes - _SPARE_BYTES - len(words.encode(errors="replace"))))


def write_pictures(folder: Path, pictures: Iterable[Picture]) -> int:
    """Writes pictures as PNG files, also those that a page has no room for, and returns their number.

    Args:
      folder: Folder of the files; it is made if it is missing.
      pictures: Pictures, whose names are all different.

    Raises:
      OSError: A file cannot be written.
    """
    count = 0
    for one in pictures:
        with atomic_write(folder / f"{one.name}.png") as stream:
            stream.write(png_bytes(one.image))
        count += 1
    return count
