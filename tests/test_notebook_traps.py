"""The faults of the notebook this project began from, which scored 0 % of whole numbers: none may return."""

import itertools
import math
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

import tfrecords
from tests.examples import PAD, pad_digits
from tfrecords import read_records
from tfrecords.dataset.manifest import ANNOTATIONS, Manifest
from tfrecords.images.crop import BoundingBox, CropSpec
from tfrecords.images.decode import evaluation_view
from trainer.input.dataset import open_images, split_dataset, training_dataset
from trainer.models import MODELS, build_model
from trainer.run.config import TrainConfig
from trainer.scoring.decode import decode_predictions
from trainer.scoring.inference import make_forward, predict_split
from trainer.scoring.losses import number_loss
from trainer.scoring.metrics import score


def _loss(length_logits: np.ndarray, digit_logits: np.ndarray, number: tuple[int, ...]) -> float:
    return float(number_loss(length_logits, digit_logits, np.array([len(number)]), pad_digits(number)[None])[0])


def test_trap_labels_of_the_wrong_kind_for_the_loss(records: Path) -> None:
    """Class numbers, as the records hold them, are what the loss takes: not one-hot rows, not floats."""
    batch = next(iter(split_dataset(open_images(records, "test"), 20)))
    assert batch["length"].dtype == batch["digits"].dtype == tf.int64
    outputs = np.zeros((20, 7)), np.zeros((20, 5, 10))
    # Logits that know nothing cost log 7 for the length and log 10 for each digit that is there.
    expected = math.log(7) + math.log(10) * batch["length"].numpy()
    np.testing.assert_allclose(number_loss(*outputs, batch["length"], batch["digits"]), expected, rtol=1e-5)


def test_trap_length_and_digit_classes_confused_with_padding() -> None:
    """A length is its own class, the digit 0 is class 0, and padding is no class at all."""
    assert PAD not in range(10)
    for number in ((0,), (1, 0), (0, 0, 0), (9, 0, 9, 0, 9)):
        length_logits, digit_logits = np.full((1, 7), -30.0), np.full((1, 5, 10), -30.0)
        length_logits[0, len(number)] = 30.0
        for place, digit in enumerate(number):
            digit_logits[0, place, digit] = 30.0
        assert _loss(length_logits, digit_logits, number) < 1e-6
        assert decode_predictions(length_logits, digit_logits).texts == ["".join(map(str, number))]
        # What the heads behind the last digit say is nobody's business.
        digit_logits[0, len(number) :] = 99.0
        assert _loss(length_logits, digit_logits, number) < 1e-6


@pytest.mark.parametrize("name", sorted(MODELS))
def test_trap_dense_layers_without_activation(name: str) -> None:
    """Two dense layers with nothing between them are one: each hidden one bends its output."""
    model = build_model(name, (24, 24, 3))
    hidden = [
        (layer, after)
        for layer, after in itertools.pairwise(model.layers)
        if isinstance(layer, keras.layers.Dense) and not layer.name.endswith("_logits")
    ]
    # The classifier of `digits` reads means of feature maps: it has no hidden dense layer.
    assert bool(hidden) is (name != "digits")
    for layer, after in hidden:
        assert layer.activation is keras.activations.relu or isinstance(after, keras.layers.LeakyReLU), layer.name


def test_trap_data_in_file_order(records: Path) -> None:
    """Training meets pictures in an order that is neither the source's nor that of the shards."""
    keys = [
        key.decode()
        for batch in training_dataset(open_images(records, "train"), TrainConfig(), 0)
        for key in batch["key"].numpy()
    ]
    numbers = [int(key.split("/")[1].split(".")[0]) for key in keys]
    stored = {example.key: index for index, example in enumerate(tfrecords.open(records, "train"))}
    for order in (numbers, [stored[key] for key in keys]):
        assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.3


def test_trap_an_accuracy_count_that_is_overwritten_instead_of_summed(records: Path) -> None:
    """The score of all batches together is that of all examples, not that of the last batch."""
    keras.utils.set_random_seed(0)
    model = build_model("compact", (54, 54, 3))
    truth = {example.key: example for example in tfrecords.open(records, "train")}
    for batch_size in (13, 1000):
        found = predict_split(make_forward(model), split_dataset(open_images(records, "train"), batch_size))
        assert sorted(found.keys) == sorted(truth)
        right = sum(truth[key].text == text for key, text in zip(found.keys, found.predictions.texts, strict=True))
        scores = score(found.predictions, found.length, found.digits)
        assert scores["num_examples"] == len(truth)
        assert scores["whole_number_accuracy"] == right / len(truth)


def test_trap_training_and_test_pictures_preprocessed_differently(records: Path, drawn: Path) -> None:
    """What predict sees of a photo is byte for byte what prepare wrote; a jitter is a window of the same crop."""
    spec = CropSpec()
    examples = {example.key: example for split in ("train", "test") for example in tfrecords.open(records, split)}
    for row in pq.read_table(records / ANNOTATIONS).to_pylist():
        boxes = [BoundingBox(**box) for box in row["boxes"]]
        with Image.open(drawn / row["key"]) as picture:
            view = evaluation_view(np.asarray(picture.convert("RGB")), boxes, spec)
        if row["split"] == "test":
            np.testing.assert_array_equal(view, examples[f"{row['key']}#0"].image)
        elif row["split"] == "train":
            jitter = examples[f"{row['key']}#0"]
            dy, dx = (int(place - 5) for place in jitter.jitter_offset)
            ours = view[max(dy, 0) : 54 + min(dy, 0), max(dx, 0) : 54 + min(dx, 0)]
            theirs = jitter.image[max(-dy, 0) : 54 + min(-dy, 0), max(-dx, 0) : 54 + min(-dx, 0)]
            np.testing.assert_array_equal(ours, theirs)


def test_trap_float64_arrays_of_everything_in_memory(records: Path) -> None:
    """A stored pixel is one byte, and a batch is whole numbers until it is on the device."""
    for shard in Manifest.load(records).split("train").shards:
        for record in read_records(records / shard.file):
            assert len(record.data) < 1.06 * 54 * 54 * 3
    for batch in training_dataset(open_images(records, "train"), TrainConfig(global_batch_size=32), 0):
        assert batch["image"].dtype == tf.uint8 and len(batch["image"]) <= 32
