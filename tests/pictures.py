"""Pictures of every kind, most of them PNGs written by hand, to read and to damage."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

_RNG = np.random.default_rng(0)
NOISE, ALPHA = _RNG.integers(0, 256, (64, 64, 3), np.uint8), _RNG.integers(0, 256, (64, 64), np.uint8)
GREY, PALETTE = NOISE[..., 0], _RNG.integers(0, 256, (256, 3), np.uint8)
DEEP = _RNG.integers(0, 65536, (64, 64, 3)).astype(">u2")
WIDE = np.zeros((2, 20_000, 3), np.uint8)
WIDE[:, :, 0], WIDE[:, 10_000:, 1] = [[10], [200]], 250
_Y, _X = np.mgrid[:64, :64]
SMOOTH = np.stack([4 * _X, 4 * _Y, 2 * (_X + _Y)], -1).astype(np.uint8)
CMYK = np.dstack([SMOOTH, _X]).astype(np.uint8)
CMYK_AS_RGB = (255.0 - CMYK[..., :3]) * (255.0 - CMYK[..., 3:]) / 255

_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
GREY_KIND, RGB_KIND, PALETTE_KIND, GREY_ALPHA_KIND, RGBA_KIND = 0, 2, 3, 4, 6
CHANNELS = {GREY_KIND: 1, RGB_KIND: 3, PALETTE_KIND: 1, GREY_ALPHA_KIND: 2, RGBA_KIND: 4}
Size = tuple[int, int]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    pixels: Any, kind: int, *chunks: bytes, depth: int = 8, size: Size | None = None, interlaced: bool = False
) -> bytes:
    """A PNG by hand; `size` is the width and height that it claims (PNG specification, 11.2.2 and 8.2)."""
    rows = (row for y, x, dy, dx in (_ADAM7 if interlaced else _WHOLE) for row in pixels[y::dy, x::dx])
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return _png(data, (*(size or pixels.shape[1::-1]), depth, kind, 0, 0, interlaced), chunks)


def random_png(kind: int, depth: int, size: Size, interlaced: bool, missing: int = 0) -> bytes:
    """A PNG of random pixels; the last `missing` bytes of its rows are left out."""
    (width, height), bits = size, depth * CHANNELS[kind]
    passes = [(range(y, height, dy), range(x, width, dx)) for y, x, dy, dx in (_ADAM7 if interlaced else _WHOLE)]
    rows = [b"\0" + _RNG.bytes(-(-len(columns) * bits // 8)) for rows, columns in passes if columns for _ in rows]
    data = b"".join(rows)
    palette = [chunk(b"PLTE", PALETTE.tobytes()[: 3 << depth])] if kind == PALETTE_KIND else []
    return _png(data[: len(data) - missing], (width, height, depth, kind, 0, 0, interlaced), palette)


def _png(data: bytes, header: Sequence[int], chunks: Sequence[bytes]) -> bytes:
    first = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    parts = (first, *chunks, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(pixels: Any, form: str, mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(pixels) if mode is None else Image.frombytes(mode, (64, 64), pixels.tobytes())
    if mode == "P":
        picture.putpalette(PALETTE.tobytes())
    picture.save(stream, form, **options)
    return stream.getvalue()


def grey(values: Any) -> Any:
    return np.repeat(values[:, :, np.newaxis], 3, 2)


def composed(colours: Any, opacity: Any) -> Any:
    """Colours on black where they are light and on white elsewhere, by definition and in floats."""
    colours = np.broadcast_to(colours, (*opacity.shape, 3))
    light = np.average(colours @ [0.299, 0.587, 0.114], weights=opacity)
    share = opacity[..., np.newaxis] / 255
    return np.rint(colours * share + (0 if light > 127.5 else 255) * (1 - share)).astype(np.uint8)


def exif(orientation: int, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    """EXIF data by hand: the tags ImageWidth, Orientation and Software (TIFF 6.0, section 2)."""
    value = struct.pack(f"{order}HH", orientation, 0) if kind == 3 else struct.pack(f"{order}I", orientation)
    entries = [(0x100, 3, 1, struct.pack(f"{order}HH", 64, 0)), (0x112, kind, count, value), (0x131, 2, 1, b"a\0\0\0")]
    packed = b"".join(struct.pack(f"{order}HHI", *entry) + value for *entry, value in entries)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 3) + packed + bytes(4)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


PLAIN, PLAIN_GREY, PLTE = png(NOISE, RGB_KIND), png(GREY, GREY_KIND), chunk(b"PLTE", PALETTE.tobytes())
IDAT, IEND = PLAIN.index(b"IDAT") + 4, PLAIN.index(b"IEND") - 4
