"""AVIF, HEIC, JPEG 2000 and JPEG XL: read where their decoders are installed, and named where they are not."""

import importlib.util
import io
import re
import sys
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tests.pictures import ALPHA, DEEP, GREY, NOISE, SMOOTH, composed, grey, saved
from tfrecords.images import formats
from tfrecords.images.decode import PictureError, decode_picture
from tfrecords.images.depth import jpeg2000_depth
from tfrecords.images.orientation import turn_upright

HAS_AVIF = importlib.util.find_spec("PIL._avif") is not None
WIDE = np.ascontiguousarray(SMOOTH[:40])


def _tags(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes()


def _heic(pixels: Any, mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = pillow_heif.from_pillow(Image.fromarray(pixels)) if mode is None else _deep_heif(pixels, mode)
    picture.save(stream, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return stream.getvalue()


def _deep_heif(pixels: Any, mode: str) -> Any:
    return pillow_heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())


def _avif(pixels: Any, **options: Any) -> bytes:
    return saved(pixels, "AVIF", quality=100, subsampling="4:4:4", **options)


def _jpeg2000(samples: Any, depth: int, form: str = "jp2") -> bytes:
    encoded = imagecodecs.jpeg2k_encode(
        samples, level=0, reversible=True, bitspersample=depth, codecformat=form, mct=False
    )
    return bytes(encoded)


def _jxl(pixels: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1))


needs_avif = pytest.mark.skipif(not HAS_AVIF, reason="this Pillow has no AVIF")


def test_heic_is_what_its_library_reads() -> None:
    for pixels in (WIDE, np.ascontiguousarray(GREY[:40])):
        expected = pixels if pixels.ndim == 3 else grey(pixels)
        assert np.abs(decode_picture(_heic(pixels), "x").astype(int) - expected).max() <= 1


@needs_avif
def test_avif_is_what_was_written() -> None:
    assert np.abs(decode_picture(_avif(WIDE), "x").astype(int) - WIDE).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_turned_once(orientation: int) -> None:
    data = _heic(WIDE, exif=_tags(orientation))
    expected = turn_upright(WIDE, orientation)
    for upright in (True, False):  # libheif returns nothing else
        pixels = decode_picture(data, "x", upright)
        assert pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected).max() <= 1


def test_the_exif_data_of_a_heic_do_not_count() -> None:
    # ISO/IEC 23008-12, 6.5.10: the property irot turns the picture. pillow_heif writes none for an Exif object.
    tags = Image.Exif()
    tags[0x112] = 6
    data = _heic(WIDE, exif=tags)
    assert b"irot" not in data and data.count(b"Exif")
    assert decode_picture(data, "x").shape == WIDE.shape


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_avif_is_turned_by_its_properties(orientation: int) -> None:
    data = _avif(WIDE, exif=_tags(orientation))
    for upright in (True, False):
        expected = turn_upright(WIDE, orientation if upright else 1)
        pixels = decode_picture(data, "x", upright)
        assert pixels.shape == expected.shape and np.abs(pixels.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize(
    ("channels", "depth"), [(1, 1), (1, 4), (1, 8), (1, 12), (1, 16), (3, 4), (3, 8), (3, 12), (3, 16)]
)
def test_jpeg_2000_of_any_depth_is_read_by_its_high_byte(form: str, depth: int, channels: int) -> None:
    samples = (DEEP >> (16 - depth)).astype(np.uint8 if depth <= 8 else np.uint16)[..., :channels]
    samples[0, 0] = (1 << depth) - 1  # white, of which a rounding of 16 bits makes black
    data = _jpeg2000(samples.squeeze(), depth, form)
    assert jpeg2000_depth(data) == depth
    wide = samples.astype(int)
    expected = wide >> (depth - 8) if depth > 8 else wide * 255 // ((1 << depth) - 1)
    expected = np.broadcast_to(expected, (*samples.shape[:2], 3))
    np.testing.assert_array_equal(decode_picture(data, "x"), expected)


def test_jpeg_2000_of_channels_of_different_depths_is_refused() -> None:
    data = bytearray(_jpeg2000(DEEP.astype(np.uint16), 16, "j2k"))
    data[45] = 7  # ITU-T T.800, A.5.1: the second channel has eight bits
    with pytest.raises(PictureError, match=r"^x: The file must be a whole picture\."):
        decode_picture(bytes(data), "x")


def test_deep_heic_is_read_in_eight_bits() -> None:
    samples = DEEP.astype(np.uint16)
    deep = decode_picture(_heic(samples, "RGB;16"), "x").astype(int)
    assert np.abs(deep - (samples >> 8)).max() <= 1  # libheif rounds
    deep = decode_picture(_heic(samples[..., 0], "I;16"), "x").astype(int)
    np.testing.assert_array_equal(deep, grey(samples[..., 0] >> 8))


def test_transparent_pictures_of_the_newer_formats_are_composed() -> None:
    ink = np.dstack([np.full((64, 64, 3), 20, np.uint8), np.where(ALPHA > 127, 255, 0).astype(np.uint8)])
    expected = composed(ink[..., :3], ink[..., 3])
    files = {"HEIC": _heic(ink), "JPEG 2000": saved(ink, "JPEG2000", irreversible=False)}
    if HAS_AVIF:
        files["AVIF"] = _avif(ink)
    for name, data in files.items():
        assert np.abs(decode_picture(data, name).astype(int) - expected).max() <= 6, name


def _without_heif(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    return _heic(WIDE)


def _without_avif(monkeypatch: pytest.MonkeyPatch) -> bytes:
    data = _avif(WIDE) if HAS_AVIF else b"\0\0\0\x18ftypavif" + bytes(12)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "PIL._avif" else find_spec(name))
    return data


def _without_jpeg2000(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr("PIL.features.check_codec", lambda name: False)
    return _jpeg2000(NOISE, 8)


def _without_jxl(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    return _jxl(NOISE)


MISSING = {
    "HEIC": (_without_heif, "pip install 'streetdigits[heif]'"),
    "AVIF": (_without_avif, "pip install 'pillow>=11.3'"),
    "JPEG 2000": (_without_jpeg2000, "Pillow with OpenJPEG, as in its wheels"),
    "JPEG XL": (_without_jxl, "pip install pillow-jxl-plugin"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_format_whose_decoder_is_missing_is_named_with_the_remedy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, remedy = MISSING[name]
    data = remove(monkeypatch)
    with pytest.raises(PictureError) as caught:
        decode_picture(data, "a/b")
    rule = f"a/b: {name} needs a decoder that is not installed: {remedy}."
    assert (caught.value.reason, str(caught.value)) == ("no_decoder", f"{rule} Received: {len(data)} bytes")


def test_opening_a_heic_changes_nothing_for_others() -> None:
    decode_picture(_heic(WIDE), "x")
    assert "HEIF" not in Image.OPEN


def _files() -> dict[str, bytes]:
    files = {
        "HEIC": _heic(WIDE, exif=_tags(6)),
        "JPEG 2000": _jpeg2000(NOISE, 8),
        "codestream": _jpeg2000(GREY, 8, "j2k"),
    }
    return {**files, "AVIF": _avif(WIDE, exif=_tags(6))} if HAS_AVIF else files


@pytest.mark.parametrize(("name", "data"), _files().items(), ids=_files())
def test_damage_is_a_reason_and_never_another_error(name: str, data: bytes) -> None:
    rng = np.random.default_rng(0)
    cut = [data[:size] for size in (4, 11, 12, 13, 20, 40, len(data) // 2, len(data) - 100, len(data) - 1)]
    for damaged in cut:
        with pytest.raises(PictureError, match=r"^x: The file must be a") as caught:
            decode_picture(damaged, "x")
        assert caught.value.reason in ("not_a_picture", "unreadable_picture")
    for _ in range(60):
        changed = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), 3):
            changed[place] = rng.integers(256)
        try:
            assert decode_picture(bytes(changed), "x").dtype == np.uint8
        except PictureError as error:
            assert "\n" not in str(error), name


@pytest.mark.parametrize("size", [(1, 1), (8, 256), (300, 513), (2000, 1000), (64, 128), (7, 9000), (768, 1024)])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(size: tuple[int, int]) -> None:
    data = _jxl(np.zeros((*size, 3), np.uint8))
    assert formats._jxl_size(data) == size[::-1]
    if not data.startswith(b"\xff\x0a"):
        return
    box = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
    assert formats._jxl_size(box + (8 + len(data)).to_bytes(4, "big") + b"jxlc" + data) == size[::-1]
    partial = (12 + len(data)).to_bytes(4, "big") + b"jxlp" + b"\x80\0\0\0" + data
    assert formats._jxl_size(box + partial) == size[::-1]


def test_a_jpeg_xl_without_pixels_has_no_size() -> None:
    with pytest.raises(ValueError, match="without a codestream"):
        formats._jxl_size(b"\0\0\0\x0cJXL \r\n\x87\n")


def test_a_jpeg_xl_is_read_where_its_package_is_installed() -> None:
    pytest.importorskip("pillow_jxl")
    np.testing.assert_array_equal(decode_picture(_jxl(NOISE), "x"), NOISE)


def test_a_film_in_the_container_of_heic_is_no_picture() -> None:
    with pytest.raises(PictureError) as caught:
        decode_picture(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100), "film.mp4")
    assert caught.value.reason == "not_a_picture"


def test_pictures_of_the_newer_formats_have_a_limit_too() -> None:
    data = bytearray(_jpeg2000(GREY, 8, "j2k"))
    data[8:16] = (9000).to_bytes(4, "big") * 2  # ITU-T T.800, A.5.1: width and height of the grid
    with pytest.raises(PictureError, match=r"64000000 pixels\. Received: 9000 x 9000"):
        decode_picture(bytes(data), "x")
    data = bytearray(_heic(WIDE))
    for found in re.finditer(b"ispe", bytes(data)):  # ISO/IEC 23008-12, 6.5.3
        data[found.end() + 4 : found.end() + 12] = (9000).to_bytes(4, "big") * 2
    with pytest.raises(PictureError, match=r"64000000 pixels\. Received: 9000 x 9000"):
        decode_picture(bytes(data), "x")


def test_every_suffix_of_a_format_is_listed_once_and_in_lower_case() -> None:
    Image.init()
    known = {suffix for suffix, form in Image.EXTENSION.items() if form in (*formats.FORMATS, "AVIF", "JPEG2000")}
    unusual = {".apng", ".avifs", ".dib", ".pfm"}
    assert known - unusual <= formats.SUFFIXES | {".j2k"}
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in formats.SUFFIXES)
