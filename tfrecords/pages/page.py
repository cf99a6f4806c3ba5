"""A template to a page: `base.html` is the skeleton, `style.css` the stylesheet and `macros.html` the shared parts.

A page is a template of a command's own folder that extends `base.html`, fills the blocks `title`, `header` and `main`,
and takes what it needs of `macros.html`:

    {% extends 'base.html' %}
    {% from 'macros.html' import absent, bars, incomplete, pairs %}
    {% block title %}...{% endblock %}
    {% block header %}<h1>...</h1>{% endblock %}
    {% block main %}<section>...</section>{% endblock %}
"""

import base64
import functools
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfrecords.errors import UserError
from tfrecords.files.publish import atomic_write
from tfrecords.files.purpose import check_writable
from tfrecords.pages.formats import format_bytes, format_percent, format_value, named_texts
from tfrecords.record.codec import png_bytes

if TYPE_CHECKING:
    import jinja2

SUFFIXES = (".html", ".htm")
"""Suffixes of a page."""
_GREY_LEVELS, _GREY_STEP = 16, 17
"""Grey levels of `grey_data_uri`, from 0 to 255."""


def render_page(template: Path, command: str, values: Mapping[str, Any]) -> str:
    """Returns a page; the same values give the same page. Texts are escaped, except where the template says `safe`.

    Args:
      template: Template of the page. Its folder may hold templates that it imports.
      command: Command that makes the page, as `python -m trainer report`, which the footer names.
      values: Variables of the template; one that it names and that is not among them is an error.
    """
    return _environment(template.parent).get_template(template.name).render(**values, mark=footer_mark(command))


@functools.lru_cache(8)
def _environment(folder: Path) -> "jinja2.Environment":
    """Returns the environment of a folder's templates, which are compiled at their first use: a server renders many."""
    # Imported here, so that modules that only name a page need no extra.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (format_bytes, format_percent, format_value, named_texts):
        environment.filters[function.__name__] = function
    return environment


def check_output(output: Path, command: str) -> None:
    """Checks that a page may be written to a path: an HTML file that is new, or an earlier page of the same command.

    Args:
      output: Path of the page.
      command: Command of `render_page`.

    Raises:
      UserError: The path has another suffix, is a folder or another file, or its folder cannot be written to.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UserError(f"The page is HTML: --output must end in {' or '.join(SUFFIXES)}.", output)
    if output.is_dir() or (output.exists() and footer_mark(command).encode() not in output.read_bytes()):
        kind = command.rpartition(" ")[2]
        raise UserError(f"--output must be a new file, or a page of an earlier {kind}.", output)
    check_writable("--output", output.parent)


def write_page(output: Path, html: str) -> None:
    """Writes a page atomically.

    Args:
      output: Path of the page, checked by `check_output`.
      html: Content of the page.

    Raises:
      OSError: The file cannot be written.
    """
    with atomic_write(output) as stream:
        # JSON may hold one half of a surrogate pair, which UTF-8 cannot encode.
        stream.write(html.encode("utf-8", errors="replace"))


def png_data_uri(image: npt.NDArray[np.uint8]) -> str:
    """Returns an image as a lossless `data:image/png;base64,...` URI.

    Args:
      image: uint8 array of shape (height, width, channels), with 1 (grey) or 3 (RGB) channels.

    Raises:
      ValueError: The array has another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(
            f"An image must be uint8 of shape (height, width, 1 or 3). Received: {image.dtype}, shape {image.shape}"
        )
    return _data_uri(png_bytes(image))


def jpeg_data_uri(image: npt.NDArray[np.uint8], quality: int = 90) -> str:
    """Returns a picture as a `data:image/jpeg;base64,...` URI, a fraction as long as a lossless one.

    Args:
      image: uint8 RGB array of shape (height, width, 3).
      quality: Quality of the JPEG file, 1..95.
    """
    from PIL import Image

    buffer = io.BytesIO()
    # Without subsampling of colours, which would blur the lines of boxes.
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return _data_uri(buffer.getvalue(), "jpeg")


def grey_data_uri(image: npt.NDArray[np.uint8]) -> str:
    """Returns a grey image as a PNG URI of 16 grey levels, about half as long as that of `png_data_uri`.

    Args:
      image: uint8 array of shape (height, width, 1).
    """
    from PIL import Image

    picture = Image.fromarray(np.rint(image[..., 0] / _GREY_STEP).astype(np.uint8), "P")
    picture.putpalette([grey for level in range(_GREY_LEVELS) for grey in [_GREY_STEP * level] * 3])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", bits=4, compress_level=9)
    return _data_uri(buffer.getvalue())


def _data_uri(file: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(file).decode("ascii")


def footer_mark(command: str) -> str:
    """Returns the HTML of the footer by which the pages of a command are recognised."""
    return f"Created by <code>{escape(command)}</code>"
