"""Export formats of models that read single characters: no output for the length, and a length of 1 in each format."""

import io
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfrecords.images.crop import CropSpec
from tfrecords.record.labels import Labels
from trainer.export.formats import FORMATS, TOLERANCE, export_model
from trainer.export.saved_model import write_saved_model
from trainer.models import build_model
from trainer.scoring.decode import decode_predictions

LABELS = Labels(max_length=1, alphabet="0123456789X")
SIDES = {"barcode": 18, "conv2": 8, "mnist_cnn": 8, "mnist_vgg": 8, "optdigits_cnn": 8}
"""Published architectures of single characters, and sides of small images for them, pixels."""
QUICK = ("keras", "h5", "graph")
CASES = [*((name, kind) for name in SIDES for kind in QUICK), ("optdigits_cnn", "tflite"), ("optdigits_cnn", "onnx")]
"""The converters take seconds per model, and their operations are those of all."""


def _model(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model(name, (SIDES[name], SIDES[name], 1), LABELS)
    for layer in model.layers:
        # As training measures them, so that images of 0..255 do not saturate the answers.
        if hasattr(layer, "deviation"):
            layer.mean.assign(np.full(layer.mean.shape, 120, np.float32))
            layer.deviation.assign(np.full(layer.deviation.shape, 70, np.float32))
    return model


@pytest.mark.parametrize(("name", "format_name"), CASES)
def test_a_model_of_single_characters_is_exported(name: str, format_name: str, tmp_path: Path) -> None:
    kind = FORMATS[format_name]
    if not all(find_spec(module.partition(".")[0]) for module in kind.needs):
        pytest.skip(f"{' or '.join(kind.needs)} is not installed: 'streetdigits[export]'")
    model, crop = _model(name), CropSpec(growth=0.0, crop_size=SIDES[name], record_size=SIDES[name])
    output = tmp_path / f"reader{kind.endings[-1]}"
    temperature = 1.6
    assert export_model(kind, model, crop, LABELS, output, temperature) < TOLERANCE
    assert list(tmp_path.iterdir()) == [output]
    received = {
        name: values
        for name, (_, values) in kind.compare(model, crop, output, 1.0 if kind.has_logits else temperature).items()
    }
    count = len(received["length"])
    assert received["length"].tolist() == [1] * count and received["digits"].shape == (count, 1)
    np.testing.assert_array_equal(received["length_probabilities"], [[0, 1, 0]] * count)
    assert received["digit_probabilities"].shape == (count, 1, 11)
    np.testing.assert_allclose(received["confidence"], received["digit_probabilities"].max((1, 2)), atol=1e-6)
    images = np.random.default_rng(0).integers(0, 256, (count, *model.input_shape[1:]), np.uint8)
    logits = model(images.astype(np.float32), training=False)["digit_logits"].numpy()
    expected = decode_predictions(None, logits, LABELS).with_temperature(1.0 if kind.has_logits else temperature)
    np.testing.assert_allclose(received["confidence"], expected.confidence, atol=TOLERANCE)


@pytest.mark.slow
def test_a_saved_model_of_single_characters_reads_pictures(tmp_path: Path) -> None:
    model, crop = _model("optdigits_cnn"), CropSpec(growth=0.0, crop_size=8, record_size=8)
    write_saved_model(model, crop, LABELS, tmp_path / "reader")
    images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1), np.uint8)
    pictures = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image[..., 0]).save(stream, "PNG")
        pictures.append(stream.getvalue())
    answers = tf.saved_model.load(str(tmp_path / "reader")).signatures["serving_default"](tf.constant(pictures))
    logits = model(images.astype(np.float32), training=False)["digit_logits"]
    expected = decode_predictions(None, logits.numpy(), LABELS)
    assert [text.decode() for text in answers["number"].numpy()] == expected.texts
    assert answers["length"].numpy().tolist() == [1] * 6 and len(set(expected.texts)) > 1
