"""python -m trainer export: a trained model that takes picture files, for serving."""

import argparse
import os
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from tfrecords.crop import CropSpec
from tfrecords.errors import UserError
from tfrecords.schema import MAX_LENGTH
from trainer.checkpoint import load_model
from trainer.run_dir import Run

EPILOG = """\
example:
  python -m trainer export --run-dir runs/first --format savedmodel --output reader

The signature serving_default takes `pictures`, a batch of encoded pictures (PNG, JPEG, GIF or BMP bytes, any
size), each the number and little else; with_boxes takes `boxes` too, left, top, width, height of each number in
pixels. Both return number, length, confidence, digits, length_probabilities and digit_probabilities.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--run-dir", type=Path, required=True, help="of a trained model")
    parser.add_argument("--format", choices=["savedmodel"], default="savedmodel", help="of the export")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace what stands in the output")


def run(args: argparse.Namespace) -> int:
    """Exports the model; the folder appears whole or not at all."""
    if args.output.exists() and not args.overwrite:
        raise UserError("The output exists already: give --overwrite to replace it, or another --output.", args.output)
    run_ = Run.load(args.run_dir)
    model = load_model(run_)
    temporary = args.output.with_name(f".{args.output.name}.{os.getpid()}.partial")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    try:
        export_saved_model(model, run_.crop, temporary)
        if args.output.exists():
            shutil.rmtree(args.output)
        temporary.rename(args.output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file()) / 1e6
    print(f"SavedModel of {run_.config.model} ({size:.1f} MB) in {args.output}")
    print(f'Load it with: tf.saved_model.load("{args.output}").signatures["serving_default"]')
    return 0


def export_saved_model(model: keras.Model, crop: CropSpec, output: Path) -> None:
    """Writes a SavedModel whose signatures take encoded pictures.

    Args:
      model: trained on pictures cut as `crop` says.
      crop: how pictures are cut around boxes, as `tfrecords.crop` does.
      output: folder to make.
    """
    pictures = tf.TensorSpec((None,), tf.string, name="pictures")
    boxes = tf.TensorSpec((None, 4), tf.float32, name="boxes")

    def whole(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        views = tf.map_fn(
            lambda data: _resize(_decode(data), crop.record_size), pictures, fn_output_signature=tf.float32
        )
        return _read(model, views, crop.record_size)

    def with_boxes(pictures: tf.Tensor, boxes: tf.Tensor) -> dict[str, tf.Tensor]:
        views = tf.map_fn(lambda pair: _view(pair[0], pair[1], crop), (pictures, boxes), fn_output_signature=tf.float32)
        return _read(model, views, crop.record_size)

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", whole, input_signature=[pictures])
    archive.add_endpoint("with_boxes", with_boxes, input_signature=[pictures, boxes])
    archive.write_out(str(output), verbose=False)


def _decode(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)


def _resize(picture: tf.Tensor, size: int) -> tf.Tensor:
    # Rounded, because records hold whole grey values.
    return tf.round(tf.image.resize(picture, (size, size), antialias=True))


def _view(data: tf.Tensor, box: tf.Tensor, crop: CropSpec) -> tf.Tensor:
    """`tfrecords.crop.evaluation_view` in TensorFlow: box grown, clipped, on whole pixels, resized, centre."""
    picture = _decode(data)
    left, top, width, height = tf.unstack(box)
    limit = tf.cast(tf.shape(picture)[:2], tf.float32)
    ymin, ymax = top - height * crop.growth / 2, top + height * (1 + crop.growth / 2)
    xmin, xmax = left - width * crop.growth / 2, left + width * (1 + crop.growth / 2)
    edges = tf.stack([ymin, xmin, ymax, xmax])
    edges = tf.cast(tf.round(tf.clip_by_value(edges, 0.0, tf.concat([limit, limit], 0))), tf.int32)
    part = picture[edges[0] : edges[2], edges[1] : edges[3]]
    y, x = crop.centre
    return _resize(part, crop.crop_size)[y : y + crop.record_size, x : x + crop.record_size]


def _read(model: keras.Model, views: tf.Tensor, size: int) -> dict[str, tf.Tensor]:
    """`trainer.decode.decode_numbers` in TensorFlow, on (batch, size, size, 3) pictures."""
    outputs = model(tf.ensure_shape(views, (None, size, size, 3)), training=False)
    length_log = tf.nn.log_softmax(outputs["length_logits"])
    digit_log = tf.nn.log_softmax(outputs["digit_logits"])
    sums = tf.pad(tf.cumsum(tf.reduce_max(digit_log, -1), axis=-1), ((0, 0), (1, 0)))
    total = length_log + tf.concat([sums, sums[:, -1:]], -1)
    length = tf.argmax(total, -1)
    digits = tf.argmax(digit_log, -1)
    shown = tf.where(tf.range(MAX_LENGTH, dtype=tf.int64) < length[:, None], tf.strings.as_string(digits), "")
    more = tf.where(length > MAX_LENGTH, "…", "")
    return {
        "number": tf.strings.join([tf.strings.reduce_join(shown, -1), more]),
        "length": length,
        "confidence": tf.exp(tf.reduce_max(total, -1)),
        "digits": digits,
        "length_probabilities": tf.exp(length_log),
        "digit_probabilities": tf.exp(digit_log),
    }
