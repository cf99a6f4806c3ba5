"""Decoding and cutting: the fast ways give what Pillow and TensorFlow give."""

import io
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.examples import noise
from tfrecords.boxes import BoundingBox
from tfrecords.picture import PictureError, cut, decode_picture


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


def test_a_transparent_colour_is_dropped_as_pillow_drops_it() -> None:
    pixels = noise(9, 9)
    data = _file(Image.fromarray(pixels), transparency=tuple(pixels[0, 0].tolist()))
    assert b"tRNS" in data
    np.testing.assert_array_equal(decode_picture(data, "x.png"), pixels)


@pytest.mark.parametrize("kept", [45, 60, 500, -40])
def test_a_cut_off_png_is_refused(kept: int) -> None:
    with pytest.raises(PictureError, match=r"^train/5\.png: The file must be a whole picture\. Received: "):
        decode_picture(_file(Image.fromarray(noise(30, 30)))[:kept], "train/5.png")


def test_a_picture_larger_than_it_is_allowed_to_be_is_refused_before_it_is_decoded() -> None:
    header = b"IHDR" + (50_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = _file(Image.fromarray(noise(2, 2)))
    data = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    with pytest.raises(PictureError, match="at most 64000000 pixels") as caught:
        decode_picture(data, "x.png")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("size", [33, 80, 113, 200])
def test_the_cut_is_the_antialiased_resize_of_tensorflow(size: int) -> None:
    picture = noise(90, 120)
    ours = cut(picture, BoundingBox(10, 5, 80, 118), size)
    theirs = tf.image.resize(picture[10:80, 5:118], (size, size), antialias=True).numpy()
    # Pillow keeps 8 bits between its two passes, OpenCV has weights of 8 bits: a grey value may round otherwise.
    assert ours.shape == (size, size, 3) and ours.dtype == np.uint8
    assert np.abs(ours - theirs).max() <= 1.25


def test_nothing_outside_the_box_has_a_part_in_the_cut() -> None:
    pixels = np.full((40, 40, 3), 255, np.uint8)
    pixels[10:30, 10:30] = 7
    for size in (9, 50):
        assert (cut(pixels, BoundingBox(10, 10, 30, 30), size) == 7).all()


def test_enlarged_pixels_are_the_same_on_every_machine() -> None:
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
    assert cut(picture, BoundingBox(0, 0, 2, 3), 4)[:, :, 0].tolist() == [
        [0, 26, 58, 84],
        [32, 58, 89, 116],
        [95, 121, 152, 179],
        [126, 152, 184, 210],
    ]
