"""Transparency, 16-bit grey and pictures without their end: what files have besides plain colours."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.pictures import (
    ALPHA,
    DEEP,
    GREY,
    GREY_KIND,
    NOISE,
    RGB_KIND,
    SMOOTH,
    chunk,
    composed,
    grey,
    png,
    random_png,
    saved,
)
from tfrecords.images.decode import PictureError, decode_picture
from tfrecords.record.codec import PNG_START

DIGITS = cv2.putText(np.zeros((40, 90), np.uint8), "2749", (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)


def _drawn(ink: int) -> Image.Image:
    """A number that is in the transparency alone."""
    return Image.fromarray(np.dstack([np.full((40, 90, 3), ink, np.uint8), DIGITS]))


def _file(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize(("ink", "background"), [(0, 255), (100, 255), (127, 255), (128, 0), (255, 0)])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_a_number_in_the_transparency_is_shown(ink: int, background: int, form: str) -> None:
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    pixels = decode_picture(_file(_drawn(ink), form, **options), "x")
    assert (pixels[DIGITS == 0] == background).all() and (pixels[DIGITS == 255] == ink).all()
    np.testing.assert_array_equal(pixels, composed(np.asarray(_drawn(ink))[..., :3], DIGITS))


@pytest.mark.parametrize("mode", ["LA", "PA", "P"])
def test_every_kind_of_transparency_is_composed(mode: str) -> None:
    ink, is_drawn = 20, DIGITS > 127
    opacity = Image.fromarray(np.where(is_drawn, 255, 0).astype(np.uint8))
    if mode == "LA":
        data = _file(Image.merge("LA", [Image.new("L", opacity.size, ink), opacity]), "PNG")
    elif mode == "PA":
        picture = Image.new("P", opacity.size, 3)
        picture.putpalette(bytes([ink] * 3) * 256)
        picture.putalpha(opacity)
        data = _file(picture, "TIFF")
    else:
        picture = Image.fromarray(is_drawn.astype(np.uint8)).convert("P")
        picture.putpalette(bytes([ink] * 3) * 256)
        data = _file(picture, "GIF", transparency=0)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == mode
    np.testing.assert_array_equal(decode_picture(data, "x"), grey(np.where(is_drawn, ink, 255)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_counts_in_the_file_s_own_depth(depth: int) -> None:
    opaque = random_png(GREY_KIND, depth, (16, 16), False)
    with Image.open(io.BytesIO(opaque)) as picture:
        samples = np.asarray(picture).astype(int) // {1: 1, 2: 85, 4: 17, 8: 1, 16: 1}[depth]
    key = int(samples[0, 0])
    data = opaque[:33] + chunk(b"tRNS", key.to_bytes(2, "big")) + opaque[33:]
    expected = composed(decode_picture(opaque, "x"), np.where(samples == key, 0, 255))
    np.testing.assert_array_equal(decode_picture(data, "x"), expected)


def test_a_transparent_colour_of_16_bits_is_that_of_its_high_bytes() -> None:
    data = png(DEEP, RGB_KIND, chunk(b"tRNS", DEEP[0, 0].tobytes()), depth=16)
    opacity = np.full((64, 64), 255)
    opacity[0, 0] = 0
    np.testing.assert_array_equal(decode_picture(data, "x"), composed(DEEP >> 8, opacity))


def test_a_picture_without_a_transparent_pixel_keeps_its_colours() -> None:
    opaque = np.full((64, 64), 255, np.uint8)
    for form in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode_picture(saved(np.dstack([NOISE, opaque]), form), "x"), NOISE)
    unused = (np.arange(256)[~np.isin(np.arange(256), GREY[:2])][0]).item()
    rows = png(GREY[:2], GREY_KIND, chunk(b"tRNS", bytes([0, unused])))
    np.testing.assert_array_equal(decode_picture(rows, "x"), grey(GREY[:2]))


def test_a_picture_of_nothing_is_white() -> None:
    assert (decode_picture(saved(np.zeros((5, 5, 4), np.uint8), "PNG"), "x") == 255).all()


def _tiff(samples: bytes, bits: int, photometric: int, order: str = "<") -> bytes:
    """A TIFF of 4 x 2 grey samples by hand, since Pillow writes no 12 bits and no white zero."""
    tags = ((256, 4), (257, 2), (258, bits), (259, 1), (262, photometric), (273, 8 + 2 + 9 * 12 + 4))
    entries = [*tags, (277, 1), (278, 2), (279, len(samples))]
    packed = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return head + packed + bytes(4) + samples


DEEP_GREY = DEEP[:2, :4, 0].astype(np.uint16)
NIBBLES = "".join(f"{value >> 4:03x}" for value in DEEP_GREY.ravel())
DEEP_FILES = {
    "a PNG": (png(DEEP[:2, :4, 0], GREY_KIND, depth=16), DEEP_GREY >> 8),
    "an interlaced PNG": (png(DEEP[..., 0], GREY_KIND, depth=16, interlaced=True), DEEP[..., 0] >> 8),
    "a TIFF": (_tiff(DEEP_GREY.astype("<u2").tobytes(), 16, 1), DEEP_GREY >> 8),
    "a big-endian TIFF": (_tiff(DEEP_GREY.astype(">u2").tobytes(), 16, 1, ">"), DEEP_GREY >> 8),
    "a TIFF whose white is zero": (_tiff(DEEP_GREY.astype("<u2").tobytes(), 16, 0), 255 - (DEEP_GREY >> 8)),
    "a TIFF of 12 bits": (_tiff(bytes.fromhex(NIBBLES), 12, 1), DEEP_GREY >> 8),
    "a PGM": (b"P5 4 2 65535\n" + DEEP_GREY.astype(">u2").tobytes(), DEEP_GREY >> 8),
}


@pytest.mark.parametrize(("data", "expected"), DEEP_FILES.values(), ids=DEEP_FILES)
def test_grey_of_16_bits_is_read_by_its_high_byte(data: bytes, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_picture(data, "x"), grey(expected))


def test_colours_of_16_bits_in_a_ppm_are_read_by_their_high_bytes() -> None:
    for largest in (65535, 4095):
        samples = (DEEP.astype(int) % (largest + 1)).astype(">u2")
        data = b"P6 64 64 %d\n" % largest + samples.tobytes()
        np.testing.assert_array_equal(decode_picture(data, "x"), samples.astype(int) * 65535 // largest >> 8)
        with pytest.raises(PictureError, match=r"^x: The file must be a whole picture\."):
            decode_picture(data[:-1], "x")


@pytest.mark.parametrize("channels", [3, 4])
def test_tiffs_of_16_bit_colours_are_read_by_their_high_bytes(channels: int) -> None:
    samples = np.dstack([DEEP, np.full((64, 64), 65535)]).astype(np.uint16)[..., :channels]
    written, data = cv2.imencode(".tiff", samples[..., [2, 1, 0, 3][:channels]])
    assert written
    np.testing.assert_array_equal(decode_picture(data.tobytes(), "x"), DEEP >> 8)


def test_other_samples_are_refused_with_what_is_allowed() -> None:
    for samples, mode in ((GREY.astype(np.int32), "I"), (GREY.astype(np.float32), "F")):
        with pytest.raises(PictureError, match=rf"^x: A picture's mode must be one of .*'I;16'.* Received: {mode}$"):
            decode_picture(saved(samples, "TIFF"), "x")


def test_a_tiff_whose_pixels_are_beyond_any_file_is_refused() -> None:
    data = _tiff(b"\xff" * 8, 8, 1)
    strip = struct.pack("<HHI", 273, 3, 1)
    assert data.count(strip) == 1
    with pytest.raises(PictureError, match=r"^x: The file must be a whole picture\."):
        decode_picture(data.replace(strip, struct.pack("<HHI", 273, 16, 1)), "x")  # an offset of 64 bits: all ones


JPEGS = {
    "baseline": saved(SMOOTH, "JPEG", quality=90),
    "grey": saved(GREY, "JPEG"),
    "with restart markers": saved(NOISE, "JPEG", restart_marker_rows=1),
}


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_only_its_end_is_whole(data: bytes) -> None:
    expected = decode_picture(data, "x")
    for end in (data[:-2], data[:-1]):
        np.testing.assert_array_equal(decode_picture(end, "x"), expected)


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_pixels_is_refused(data: bytes) -> None:
    restarts = [place for place in range(len(data)) if data[place] == 0xFF and 0xD0 <= data[place + 1] <= 0xD7]
    for stop in (*restarts, *(len(data) - missing for missing in (4, 5, 6, 7, 8, 20, 100, len(data) // 2))):
        with pytest.raises(PictureError, match=r"^x: The file must be a whole picture\. Received: "):
            decode_picture(data[:stop], "x")


def test_a_progressive_jpeg_without_its_end_may_lack_detail_and_is_refused() -> None:
    with pytest.raises(PictureError, match=r"Received: image file is truncated"):
        decode_picture(saved(NOISE, "JPEG", progressive=True)[:-2], "x")


def test_a_png_that_lacks_only_its_end_is_whole_too() -> None:
    data = png(NOISE, RGB_KIND)
    assert data[:16] == PNG_START
    np.testing.assert_array_equal(decode_picture(data[:-12], "x"), NOISE)


def test_the_background_does_not_depend_on_what_is_hidden() -> None:
    hidden = np.where(ALPHA[..., np.newaxis] > 127, 30, 255).astype(np.uint8) * np.ones(3, np.uint8)
    opacity = np.where(ALPHA > 127, 255, 0).astype(np.uint8)
    pixels = decode_picture(saved(np.dstack([hidden, opacity]), "PNG"), "x")
    assert (pixels[opacity == 0] == 255).all() and (pixels[opacity == 255] == 30).all()
