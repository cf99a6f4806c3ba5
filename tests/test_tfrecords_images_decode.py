"""Decoding and cutting: the fast ways give what Pillow and TensorFlow give."""

import io
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.examples import noise
from tests.pictures import (
    GREY,
    GREY_ALPHA_KIND,
    GREY_KIND,
    IDAT,
    IEND,
    NOISE,
    PALETTE_KIND,
    PLAIN,
    RGB_KIND,
    RGBA_KIND,
    SMOOTH,
    chunk,
    composed,
    png,
    random_png,
    saved,
)
from tfrecords.images.crop import BoundingBox
from tfrecords.images.decode import PictureError, cut, decode_picture


def _file(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (64, 33)])
def test_pngs_of_every_kind_are_what_pillow_reads(mode: str, size: tuple[int, int]) -> None:
    data = _file(Image.fromarray(noise(*size)).convert(mode))
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == mode
        np.testing.assert_array_equal(decode_picture(data, "x.png"), np.asarray(picture.convert("RGB")))


PNG_KINDS = [(GREY_KIND, depth) for depth in (1, 2, 4, 8)] + [(PALETTE_KIND, depth) for depth in (1, 2, 4, 8)]
PNG_KINDS += [(kind, depth) for kind in (RGB_KIND, GREY_ALPHA_KIND, RGBA_KIND) for depth in (8, 16)]


@pytest.mark.parametrize(("kind", "depth"), PNG_KINDS)
@pytest.mark.parametrize("interlaced", [False, True], ids=["in one pass", "interlaced"])
def test_a_png_of_any_kind_is_taken_whole_and_refused_where_pixels_are_missing(
    kind: int, depth: int, interlaced: bool
) -> None:
    for size in [(1, 1), (1, 7), (7, 1), (3, 5), (8, 8), (33, 17)]:
        data = random_png(kind, depth, size, interlaced)
        with Image.open(io.BytesIO(data)) as picture:
            expected = np.asarray(picture.convert("RGB"))
            if picture.mode in ("LA", "RGBA"):
                expected = composed(expected, np.asarray(picture.getchannel("A")))
        np.testing.assert_array_equal(decode_picture(data, "x"), expected)
        with pytest.raises(PictureError) as caught:
            decode_picture(random_png(kind, depth, size, interlaced, missing=1), "x")
        assert caught.value.reason == "unreadable_picture"
        assert str(caught.value).endswith("whole picture. Received: fewer rows than its header claims")


def test_a_png_whose_pixels_stand_in_many_chunks_is_whole() -> None:
    data = png(GREY, GREY_KIND)
    start, end = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    pieces = b"".join(chunk(b"IDAT", data[place : min(place + 100, end)]) for place in range(start, end, 100))
    np.testing.assert_array_equal(decode_picture(data[: start - 8] + pieces + data[end + 4 :], "x")[..., 0], GREY)


@pytest.mark.parametrize("kept", [45, 60, 500, -40])
def test_a_cut_off_png_is_refused(kept: int) -> None:
    with pytest.raises(PictureError, match=r"^train/5\.png: The file must be a whole picture\. Received: "):
        decode_picture(_file(Image.fromarray(noise(30, 30)))[:kept], "train/5.png")


TOO_LARGE = {
    "a PNG": (png(NOISE, RGB_KIND, size=(50_000, 40_000)), "50000 x 40000"),
    "a PNG of grey": (png(GREY, GREY_KIND, size=(50_000, 40_000)), "50000 x 40000"),
    "a PNG that is only little too large": (png(NOISE, RGB_KIND, size=(8001, 8000)), "8001 x 8000"),
    "a PNM": (b"P6 9000 8000 255 " + bytes(99), "9000 x 8000"),
    "a PNM that Pillow itself refuses": (b"P6 50000 40000 255 " + bytes(99), "2000000000 pixels"),
}


@pytest.mark.parametrize(("data", "size"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_picture_larger_than_it_is_allowed_to_be_is_refused_before_it_is_decoded(data: bytes, size: str) -> None:
    with pytest.raises(PictureError) as caught:
        decode_picture(data, "x.png")
    assert caught.value.reason == "too_large"
    assert str(caught.value) == f"x.png: A picture must have at most 64000000 pixels. Received: {size}"


ACCEPTED = {
    "BMP": saved(NOISE, "BMP"),
    "GIF": saved(GREY, "GIF"),
    "JPEG": saved(SMOOTH, "JPEG"),
    "MPO": saved(SMOOTH, "MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    "PNG": PLAIN,
    "APNG": saved(NOISE, "PNG", save_all=True, append_images=[Image.fromarray(SMOOTH)]),
    "PNM": saved(NOISE, "PPM"),
    "TIFF": saved(NOISE, "TIFF", compression="tiff_lzw"),
    "WebP": saved(NOISE, "WEBP"),
}
REFUSED = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n",
    "TGA": saved(NOISE, "TGA"),
    "an icon": saved(NOISE, "ICO"),
    "nothing": b"",
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_pictures_of_the_usual_formats_are_what_pillow_reads(data: bytes) -> None:
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(decode_picture(data, "x"), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_a_file_of_another_format_is_refused_with_the_formats_accepted(data: bytes) -> None:
    with pytest.raises(PictureError) as caught:
        decode_picture(data, "x")
    rule = "x: The file must be a picture (BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP, AVIF, HEIC, JPEG 2000, JPEG XL)."
    assert (caught.value.reason, str(caught.value)) == ("not_a_picture", f"{rule} Received: {len(data)} bytes")


def test_a_warning_of_pillow_reaches_nobody_and_the_filters_stay() -> None:
    before = list(warnings.filters)  # among them, for tests, that every warning is an error
    data = saved(NOISE, "TIFF", compression="tiff_lzw")
    for missing in (1, 125, 500):  # in the tags, which stand at the end
        with pytest.raises(PictureError, match=r"^x: The file must be a picture"):
            decode_picture(data[:-missing], "x")
    assert warnings.filters == before


PEAK = """
import sys
from pathlib import Path
from tfrecords.images.decode import PictureError, decode_picture

def peak():
    # Not ru_maxrss: that of a new process begins with its parent's.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

decode_picture(Path(sys.argv[1]).read_bytes(), "good")
for path in sys.argv[2:]:
    data, before = Path(path).read_bytes(), peak()
    try:
        decode_picture(data, path)
    except PictureError:
        pass
    print(peak() - before)
"""
"""Decodes the named files, the first of which is good, and prints by how many kB each of the others raised the peak."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_small_files_do_not_fill_the_memory(tmp_path: Path) -> None:
    text = zlib.compress(bytes(100_000_000))  # 97 kB
    halves = [chunk(b"IDAT", PLAIN[start:stop]) for start, stop in ((IDAT, IDAT + 5000), (IDAT + 5000, IEND - 4))]
    hidden = chunk(b"tEXt", b"Comment\0IDAT")  # from a search for the pixels' first chunk
    bombs = {
        "a size of 50,000 x 50,000": png(NOISE, RGB_KIND, size=(50_000, 50_000)),
        "a size of 50,000 x 50,000 in grey": png(GREY, GREY_KIND, size=(50_000, 50_000)),
        "rows behind the last": PLAIN[: IDAT - 8] + chunk(b"IDAT", text) + PLAIN[IEND:],
        "a text between the pixels": PLAIN[: IDAT - 8] + halves[0] + chunk(b"zTXt", b"Comment\0\0" + text) + halves[1],
        "a text behind the pixels": PLAIN[:IEND] + chunk(b"zTXt", b"Comment\0\0" + text) + PLAIN[IEND:],
        "a text": png(NOISE, RGB_KIND, chunk(b"zTXt", b"Comment\0\0" + text)),
        "a text behind another": png(NOISE, RGB_KIND, hidden, chunk(b"zTXt", b"Comment\0\0" + text)),
        "a text with a language": png(NOISE, RGB_KIND, chunk(b"iTXt", b"Comment\0\1\0\0\0" + text)),
        "a colour profile": png(NOISE, RGB_KIND, chunk(b"iCCP", b"profile\0\0" + text)),
    }
    paths = [tmp_path / f"{number}.png" for number in range(len(bombs) + 1)]
    for path, data in zip(paths, [PLAIN, *bombs.values()], strict=True):
        path.write_bytes(data)
    command = [sys.executable, "-c", PEAK, *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    raised = dict(zip(bombs, map(int, done.stdout.split()), strict=True))
    assert {name: kilobytes for name, kilobytes in raised.items() if kilobytes > 20_000} == {}


@pytest.mark.parametrize("size", [33, 80, 113, 200])
def test_the_cut_is_the_antialiased_resize_of_tensorflow(size: int) -> None:
    picture = noise(90, 120)
    ours = cut(picture, BoundingBox(10, 5, 80, 118), (size, size))
    theirs = tf.image.resize(picture[10:80, 5:118], (size, size), antialias=True).numpy()
    # Pillow keeps 8 bits between its two passes, OpenCV has weights of 8 bits: a grey value may round otherwise.
    assert ours.shape == (size, size, 3) and ours.dtype == np.uint8
    assert np.abs(ours - theirs).max() <= 1.25


def test_nothing_outside_the_box_has_a_part_in_the_cut() -> None:
    pixels = np.full((40, 40, 3), 255, np.uint8)
    pixels[10:30, 10:30] = 7
    for size in (9, 50):
        assert (cut(pixels, BoundingBox(10, 10, 30, 30), (size, size)) == 7).all()


@pytest.mark.parametrize("size", [9, 50])
def test_grey_is_cut_as_each_channel_of_a_colour_picture(size: int) -> None:
    picture, box = noise(40, 40), BoundingBox(3, 2, 33, 31)
    one = cut(np.ascontiguousarray(picture[..., :1]), box, (size, size))
    assert one.shape == (size, size, 1)
    np.testing.assert_array_equal(one[..., 0], cut(picture, box, (size, size))[..., 0])


def test_enlarged_pixels_are_the_same_on_every_machine() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
    assert cut(picture, BoundingBox(0, 0, 2, 3), (4, 4))[:, :, 0].tolist() == [
        [0, 26, 58, 84],
        [32, 58, 89, 116],
        [95, 121, 152, 179],
        [126, 152, 184, 210],
    ]
