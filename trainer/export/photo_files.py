"""A finder and a reader together as one SavedModel, LiteRT file or ONNX file. Writes and runs each.

A SavedModel takes the bytes of picture files. The other two take decoded pixels: LiteRT has no operation that decodes
pictures, and ONNX Runtime (1.31) does not implement ONNX's `ImageDecoder`.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecords.images.decode import decode_picture
from trainer.export.files import save_onnx
from trainer.export.photo_graph import PhotoModels, finder_of, photo_models, read_photo
from trainer.export.picture_graph import decode_picture as decode_in_graph
from trainer.export.saved_model import number_texts, save_signatures
from trainer.lite.convert import Forward
from trainer.photo_reader import MOST_NUMBERS, PhotoReader

_PICTURE = tf.TensorSpec((None, None, 3), tf.uint8, name="picture")
_SIGNATURE = "serving_default"


def write_photo_saved_model(photo_reader: PhotoReader, output: Path) -> None:
    """Writes a SavedModel from (batch,) `pictures`, bytes of files, to the numbers of each, with their texts."""
    photo, labels = photo_models(photo_reader), photo_reader.reader.run.labels

    def read(data: tf.Tensor) -> dict[str, tf.Tensor]:
        found = read_photo(decode_in_graph(data), photo)
        return {"number": number_texts(found["length"], found["digits"], labels), **found}

    def read_all(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        kinds = {"number": tf.TensorSpec((MOST_NUMBERS,), tf.string), **_output_specs(photo)}
        numbers: dict[str, tf.Tensor] = tf.map_fn(read, pictures, fn_output_signature=kinds)
        return numbers

    spec = tf.TensorSpec((None,), tf.string, name="pictures")
    signature = tf.function(read_all, autograph=False, input_signature=[spec])
    save_signatures(_models(photo_reader), {_SIGNATURE: signature}, output)


def _output_specs(photo: PhotoModels) -> dict[str, tf.TensorSpec]:
    """Returns the shapes and types of what `read_photo` returns."""
    shapes = {"boxes": (4,), "box_confidence": (), "confidence": ()}
    specs = {name: tf.TensorSpec((MOST_NUMBERS, *shape), tf.float32) for name, shape in shapes.items()}
    specs |= {name: tf.TensorSpec((MOST_NUMBERS, *shape), tf.int64) for name, shape in _integers(photo).items()}
    return {**specs, "count": tf.TensorSpec((), tf.int64)}


def _integers(photo: PhotoModels) -> dict[str, tuple[int, ...]]:
    return {"length": (), "digits": (photo.longest,)}


def write_photo_tflite(photo_reader: PhotoReader, output: Path) -> None:
    """Writes a LiteRT file from one `picture`, (height, width, 3) uint8 RGB, to its numbers, without their texts."""
    photo = photo_models(photo_reader)
    signature = tf.function(lambda picture: read_photo(picture, photo), autograph=False, input_signature=[_PICTURE])
    with tempfile.TemporaryDirectory() as folder:
        save_signatures(_models(photo_reader), {_SIGNATURE: signature}, Path(folder))
        output.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def write_photo_onnx(photo_reader: PhotoReader, output: Path) -> None:
    """Writes an ONNX file from one `picture`, (height, width, 3) uint8 RGB, to its numbers, without their texts."""

    def read(picture: tf.Tensor, find: Forward, forward: Forward) -> dict[str, tf.Tensor]:
        return read_photo(picture, photo_models(photo_reader, find, forward))

    labels, temperature = photo_reader.reader.run.labels, photo_models(photo_reader).temperature
    save_onnx(_models(photo_reader), read, _PICTURE, ("height", "width"), output, labels, temperature)


def _models(photo_reader: PhotoReader) -> list[keras.Model]:
    return [finder_of(photo_reader).model, photo_reader.reader.model]


def ask_photo_saved_model(path: Path, pictures: Sequence[bytes]) -> list[dict[str, np.ndarray]]:
    """Returns the numbers that a SavedModel reads in picture files, which it gets as one batch."""
    answers = tf.saved_model.load(str(path)).signatures[_SIGNATURE](pictures=tf.constant(list(pictures)))
    return [{name: value.numpy()[index] for name, value in answers.items()} for index in range(len(pictures))]


def ask_photo_tflite(path: Path, pictures: Sequence[bytes]) -> list[dict[str, np.ndarray]]:
    """Returns the numbers that a LiteRT file reads in picture files, which are decoded before."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path)).get_signature_runner(_SIGNATURE)
    return [runner(picture=decode_picture(data, "picture")) for data in pictures]


def ask_photo_onnx(path: Path, pictures: Sequence[bytes]) -> list[dict[str, np.ndarray]]:
    """Returns the numbers that an ONNX file reads in picture files, which are decoded before."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    answers = [session.run(names, {"picture": decode_picture(data, "picture")}) for data in pictures]
    return [dict(zip(names, answer, strict=True)) for answer in answers]
