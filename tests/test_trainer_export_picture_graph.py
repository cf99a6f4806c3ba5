"""The SavedModel's decoding: the same pixels as `decode_picture` of `tfrecords`, in TensorFlow."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.pictures import (
    ALPHA,
    CMYK,
    DEEP,
    GREY,
    GREY_KIND,
    NOISE,
    PALETTE_KIND,
    PLAIN,
    PLTE,
    RGBA_KIND,
    SMOOTH,
    chunk,
    exif,
    png,
    random_png,
    saved,
)
from tfrecords.files.place import Place
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.images.decode import cut, decode_picture, evaluation_view
from tfrecords.images.orientation import read_orientation
from trainer.export.compare_pictures import GREY_TOLERANCE, sample_pictures
from trainer.export.picture_graph import decode_picture as decode_in_graph
from trainer.export.resize_graph import resize
from trainer.export.saved_model import boxed_images, whole_images
from trainer.reader import read_image

RGBA = np.dstack([NOISE, ALPHA])
TRANSPARENT = {
    "PNG of RGBA": png(RGBA, RGBA_KIND),
    "PNG of light ink": png(np.dstack([NOISE // 4 + 190, ALPHA]), RGBA_KIND),
    "PNG without opacity": png(np.dstack([NOISE, np.full((64, 64), 255, np.uint8)]), RGBA_KIND),
    "PNG of nothing": png(np.zeros((64, 64, 4), np.uint8), RGBA_KIND),
    "PNG of a transparent grey": png(GREY, GREY_KIND, chunk(b"tRNS", bytes([0, int(GREY[0, 0])]))),
    "PNG of a transparent palette": png(GREY, PALETTE_KIND, PLTE, chunk(b"tRNS", ALPHA.tobytes()[:256])),
    "PNG of a transparent 16-bit grey": png(
        DEEP[..., 0], GREY_KIND, chunk(b"tRNS", DEEP[0, 0, :1].tobytes()), depth=16
    ),
    "WebP": saved(RGBA, "WEBP", lossless=True),
}
PNGS = {
    f"PNG {kind} of {depth} bits": random_png(kind, depth, (9, 7), depth == 8)
    for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16)))
    for depth in depths
}
JPEGS = {
    "JPEG": saved(NOISE, "JPEG", quality=95),
    "progressive JPEG": saved(NOISE, "JPEG", progressive=True),
    "JPEG of 4:4:4": saved(NOISE, "JPEG", subsampling=0),
    "JPEG of low quality": saved(SMOOTH, "JPEG", quality=20),
    "grey JPEG": saved(GREY, "JPEG"),
}


def _bmp(pixels: Any, *masks: int, header: int = 108) -> bytes:
    """A BMP of 32 bits with masks: BITMAPINFOHEADER (40), which they follow, BITMAPV4HEADER (108) or V5 (124)."""
    height, width = pixels.shape[:2]
    head = struct.pack("<IiiHHIIiiII", header, width, -height, 1, 32, 3, pixels.nbytes, 0, 0, 0, 0)
    head = (head + struct.pack("<IIII", *masks))[: max(header, 52)].ljust(header, b"\0")
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + pixels.nbytes, 0, 0, start) + head + pixels.tobytes()


MASKS = (0xFF0000, 0xFF00, 0xFF)
OTHERS = {
    "BMP of transparency": _bmp(RGBA, *MASKS, 0xFF000000),
    "BMP of transparency, version 5": _bmp(RGBA, *MASKS, 0xFF000000, header=124),
    "BMP of masks without transparency": _bmp(RGBA, *MASKS, 0),
    "BMP of masks after its header": _bmp(RGBA, *MASKS, 0, header=40),
    "GIF with a transparent colour that no pixel has": saved(GREY | 1, "GIF", transparency=0),
    "BMP": saved(NOISE, "BMP"),
    "grey BMP": saved(GREY, "BMP"),
    "BMP of a palette": saved(GREY, "BMP", "P"),
    "BMP of 32 bits": saved(RGBA, "BMP"),
    "GIF": saved(GREY, "GIF", "P"),
    "WebP without alpha": saved(NOISE, "WEBP"),
}
SAME = {**TRANSPARENT, **PNGS, **JPEGS, **OTHERS}


def _graph(data: bytes) -> np.ndarray:
    pixels: np.ndarray = decode_in_graph(tf.constant(data)).numpy()
    return pixels


@pytest.mark.parametrize("data", SAME.values(), ids=SAME)
def test_the_pixels_are_those_of_predict(data: bytes) -> None:
    np.testing.assert_array_equal(_graph(data), decode_picture(data, "x"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_is_applied(form: str) -> None:
    for orientation in range(1, 9):
        for order in "<>":
            tags = b"Exif\0\0" + exif(orientation, order)
            data = saved(SMOOTH[:30], form, exif=tags)
            assert read_orientation(data) == orientation
            np.testing.assert_array_equal(_graph(data), decode_picture(data, "x"))


def test_damaged_exif_data_count_as_little_as_in_predict() -> None:
    rng = np.random.default_rng(0)
    found = set()
    wholes = [(saved(SMOOTH[:8], form, exif=b"Exif\0\0" + exif(6)), form) for form in ("JPEG", "PNG", "WEBP")]
    for index in range(300):
        whole, form = wholes[index % 3]
        start = whole.index(b"II*\0") - 16
        damaged = bytearray(whole)
        for place in rng.integers(start, start + 56, 2):
            damaged[place] = rng.choice([0, 1, 3, 6, 8, 255, int(rng.integers(256))])
        data = bytes(damaged)
        try:
            pixels = _graph(data)
        except tf.errors.InvalidArgumentError:
            continue  # the damage is to the file's structure
        found.add(read_orientation(data))
        assert pixels.shape == ((64, 8, 3) if read_orientation(data) > 4 else (8, 64, 3)), (form, index)
    assert {1, 6} <= found


def test_what_serving_does_not_read_alike_is_as_documented() -> None:
    np.testing.assert_allclose(
        _graph(saved(CMYK, "JPEG", "CMYK")).astype(int), decode_picture(saved(CMYK, "JPEG", "CMYK"), "x"), atol=1
    )
    for data in (PLAIN[:-12], saved(SMOOTH, "JPEG")[:-2], b""):
        with pytest.raises(tf.errors.InvalidArgumentError):
            _graph(data)


def test_a_file_of_another_format_is_an_error_that_names_the_formats() -> None:
    files = [saved(NOISE, form) for form in ("TIFF", "PPM", "JPEG2000")]
    for data in (*files, b"\0\0\0\x18ftypheic" + bytes(50), b"text"):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"One of JPEG, .*PNG, GIF, BMP, WebP required"):
            _graph(data)


def test_what_would_be_read_as_another_picture_is_an_error_with_what_to_do() -> None:
    gif = saved(GREY, "GIF", "P", transparency=int(GREY[0, 0]))
    swapped = _bmp(RGBA, 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    rules = {
        "A GIF with transparent pixels must be sent as PNG": gif,
        "The bytes of a BMP.*s pixels must be blue, green, red and opacity": swapped,
    }
    for rule, data in rules.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match=rule):
            _graph(data)
        assert decode_picture(data, "x").shape == (64, 64, 3)


def test_predict_cuts_a_turned_picture_by_the_box_that_viewers_show(tmp_path: Path) -> None:
    crop, box = CropSpec(), BoundingBox(5, 40, 25, 60)
    for orientation, stored in ((1, SMOOTH[:32]), (6, np.rot90(SMOOTH[:32])), (3, np.rot90(SMOOTH[:32], 2))):
        path = tmp_path / f"{orientation}.png"
        path.write_bytes(saved(np.ascontiguousarray(stored), "PNG", exif=b"Exif\0\0" + exif(orientation)))
        np.testing.assert_array_equal(read_image(Place(path), [box], crop), evaluation_view(SMOOTH[:32], [box], crop))


def test_enlarged_pixels_are_those_of_predict() -> None:
    enlarge = tf.function(
        lambda picture: resize(picture, (64, 64)), input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)]
    )
    for height, width in ((64, 64), (1, 1), (1, 64), (63, 2), (40, 29), (17, 33), (5, 57), (32, 48)):
        picture = NOISE[:height, :width]
        np.testing.assert_array_equal(enlarge(picture), cut(picture, BoundingBox(0, 0, height, width), (64, 64)))


@pytest.mark.parametrize("size", [20, 54])
def test_the_images_are_those_of_predict(size: int) -> None:
    crop = CropSpec(crop_size=size + 10, record_size=size)
    names, pictures, boxes = zip(*sample_pictures((size, size)), strict=True)
    edges = tf.constant([(box.xmin, box.ymin, box.width, box.height) for box in boxes], tf.float32)
    whole, boxed = whole_images(tf.constant(pictures), crop), boxed_images(tf.constant(pictures), edges, crop)
    for name, data, box, *images in zip(names, pictures, boxes, whole.numpy(), boxed.numpy(), strict=True):
        for image, given in zip(images, ([], [box]), strict=True):
            view = evaluation_view(decode_picture(data, name), given, crop).astype(int)
            assert np.abs(image - view).max() <= GREY_TOLERANCE, name
    assert {name.partition(" of ")[0] for name in names} >= {
        "JPEG",
        "grey JPEG",
        "PNG",
        "turned PNG",
        "transparent PNG",
    }


def test_the_graph_has_nothing_that_tensorflow_logs_an_error_of() -> None:
    graph = decode_in_graph.get_concrete_function().graph.as_graph_def()  # type: ignore[attr-defined]
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert not [node for node in nodes if node.op == "Transpose" and node.attr["T"].type == tf.uint8.as_datatype_enum]
    strides = [node for node in nodes if node.op == "Const" and node.name.rpartition("/")[2].startswith("stack_2")]
    strides += [node for node in nodes if node.op == "Const" and node.name.endswith("stack_2")]
    assert strides and all(tf.make_ndarray(node.attr["value"].tensor).min() > 0 for node in strides)
