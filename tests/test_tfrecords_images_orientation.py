"""Orientation: pictures are turned as viewers turn them, whatever file says so and however it is damaged."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.examples import noise
from tests.pictures import RGB_KIND, SMOOTH, chunk, exif, png, saved
from tfrecords.images.decode import decode_picture
from tfrecords.images.orientation import MAX_STEPS, read_orientation, turn_upright

PIXELS = noise(20, 32)
JPEG = saved(SMOOTH[:20], "JPEG")


def _jpeg(*segments: bytes) -> bytes:
    parts = [b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment for segment in segments]
    return JPEG[:2] + b"".join(parts) + JPEG[2:]


def _stored(form: str, orientation: int) -> bytes:
    """A file of a picture that says how it is to be turned."""
    tags = Image.Exif()
    tags[0x112] = orientation
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    return saved(PIXELS, form, exif=tags, **options)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(form: str, orientation: int) -> None:
    data = _stored(form, orientation)
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    decoded = decode_picture(data, "x")
    assert decoded.shape == ((32, 20, 3) if orientation > 4 else (20, 32, 3)) and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_can_be_read_as_it_is_stored(form: str, orientation: int) -> None:
    data = _stored(form, orientation)
    expected = PIXELS if form != "JPEG" else decode_picture(_stored(form, 1), "x")
    np.testing.assert_array_equal(decode_picture(data, "x", upright=False), expected)


def test_grey_of_16_bits_in_a_tiff_is_turned_too() -> None:
    samples = (PIXELS[..., 0].astype(np.uint16) << 8) + 200
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x112] = orientation
        data = saved(samples, "TIFF", exif=tags)
        for upright in (True, False):
            expected = turn_upright(PIXELS[..., :1].repeat(3, 2), orientation if upright else 1)
            np.testing.assert_array_equal(decode_picture(data, "x", upright), expected)


def test_xmp_does_not_turn_a_tiff() -> None:
    data = saved(PIXELS, "TIFF", tiffinfo={700: b'<x:xmpmeta tiff:Orientation="6"/>'})
    with Image.open(io.BytesIO(data)) as picture:
        assert ImageOps.exif_transpose(picture).size == (20, 32)  # by Pillow it does
    np.testing.assert_array_equal(decode_picture(data, "x"), PIXELS)


def test_the_eight_orientations_are_those_of_the_standard() -> None:
    # EXIF 2.32, 4.6.5: where the stored picture's first row and first column are in the shown one.
    stored = np.array([[[1] * 3, [2] * 3], [[3] * 3, [4] * 3]], np.uint8)
    shown = ["1234", "2143", "4321", "3412", "1324", "3142", "4231", "2413"]
    for orientation, expected in enumerate(shown, 1):
        data = png(stored, RGB_KIND, chunk(b"eXIf", exif(orientation)))
        assert "".join(map(str, decode_picture(data, "x")[..., 0].ravel())) == expected


ICC, XMP = b"ICC_PROFILE\0" + bytes(500), b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="3"/>'
MARK = b"Exif\0\0"
FOUND = {
    "little-endian": (_jpeg(MARK + exif(6)), 6),
    "big-endian": (_jpeg(MARK + exif(6, ">")), 6),
    "behind other segments": (_jpeg(XMP, ICC, MARK + exif(8)), 8),
    "behind fill bytes": (JPEG[:2] + b"\xff" * 5 + _jpeg(MARK + exif(5))[2:], 5),
    "in the first of two": (_jpeg(MARK + exif(3), MARK + exif(6)), 3),
    "with a mark in a PNG": (png(PIXELS, RGB_KIND, chunk(b"eXIf", MARK + exif(7))), 7),
    "behind a text in a PNG": (png(PIXELS, RGB_KIND, chunk(b"tEXt", b"Comment\0eXIf"), chunk(b"eXIf", exif(2))), 2),
}
NOT_FOUND = {
    "no EXIF data": JPEG,
    "in XMP alone": _jpeg(XMP),
    "a value of 0": _jpeg(MARK + exif(0)),
    "a value of 9": _jpeg(MARK + exif(9)),
    "a LONG": _jpeg(MARK + exif(6, kind=4)),
    "two values": _jpeg(MARK + exif(6, count=2)),
    "no byte order": _jpeg(MARK + b"XX" + exif(6)[2:]),
    "no directory": _jpeg(MARK + exif(6)[:8]),
    "a directory beyond the end": _jpeg(MARK + exif(6)[:4] + b"\xff" * 4 + exif(6)[8:]),
    "cut in the tag": _jpeg(MARK + exif(6)[:32]),
    "a mark alone": _jpeg(MARK),
    "EXIF data behind the pixels": JPEG + _jpeg(MARK + exif(6))[2:],
    "behind the pixels of a PNG": png(PIXELS, RGB_KIND)[:-12] + chunk(b"eXIf", exif(6)) + png(PIXELS, RGB_KIND)[-12:],
    "behind too many segments": _jpeg(*[b""] * MAX_STEPS, MARK + exif(6)),
}


@pytest.mark.parametrize(("data", "orientation"), FOUND.values(), ids=FOUND)
def test_exif_data_are_found_where_viewers_find_them(data: bytes, orientation: int) -> None:
    assert read_orientation(data) == orientation


@pytest.mark.parametrize("data", NOT_FOUND.values(), ids=NOT_FOUND)
def test_a_picture_without_a_valid_tag_is_decoded_as_it_is_stored(data: bytes) -> None:
    assert read_orientation(data) == 1
    assert decode_picture(data, "x").shape[0] == 20


def test_damaged_exif_data_never_raise() -> None:
    rng = np.random.default_rng(0)
    for whole in (_jpeg(MARK + exif(6)), _stored("PNG", 6), _stored("WEBP", 6)):
        for size in range(0, len(whole), 7):
            assert 1 <= read_orientation(whole[:size]) <= 8
        for _ in range(300):
            damaged = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 120), 4):
                damaged[place] = rng.integers(256)
            assert 1 <= read_orientation(bytes(damaged)) <= 8
