"""Mean and deviation of the training split: measured once, from the central windows, and kept with the weights."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecords
from tests.untrained import make_run
from tfrecords.dataset.image_cache import ImageCache
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.distribute.cluster import Cluster
from trainer.distribute.strategy import make_strategy
from trainer.fit import statistics
from trainer.fit.statistics import _statistics, measure
from trainer.input.records import Records
from trainer.models import build_model
from trainer.models.layers import TrainingStandardise
from trainer.run.directory import Run
from trainer.run.transfer import transfer
from trainer.run.weights import load_model, save_weights

DATASETS = Path(__file__).parent / "schema1"


def _model(shape: tuple[int, int, int], by_pixel: bool) -> keras.Model:
    images = keras.Input(shape, name="image")
    return keras.Model(images, TrainingStandardise(by_pixel, dtype="float32", name="standardise")(images))


def _measured(records: Records, shape: tuple[int, int, int], by_pixel: bool) -> TrainingStandardise:
    model = _model(shape, by_pixel)
    measure(model, records, records.images("train"), "train")
    return model.get_layer("standardise")


@pytest.mark.parametrize("name", ["raw", "png", "dynamic"])
@pytest.mark.parametrize("by_pixel", [True, False])
@pytest.mark.parametrize("margin", [(0, 0), (3, 6)])
def test_statistics_are_numpy_s_of_the_central_windows_of_all_shards(
    name: str, by_pixel: bool, margin: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records.open(DATASETS / name)
    images = np.stack([one.image for one in tfrecords.open(DATASETS / name, "train")]).astype(np.float64)
    # More than one batch, the last of them short.
    monkeypatch.setattr(statistics, "_BATCH", max(2, len(images) // 2 + 1))
    (_, height, width, channels), (top, left) = images.shape, (margin[0] // 2, margin[1] // 2)
    shape = height - margin[0], width - margin[1], channels
    windows = images[:, top : top + shape[0], left : left + shape[1]]
    layer = _measured(records, shape, by_pixel)
    axes = 0 if by_pixel else None
    np.testing.assert_allclose(layer.mean.numpy(), windows.mean(axes), rtol=1e-6)
    deviation = windows.std(axes)
    np.testing.assert_allclose(layer.deviation.numpy(), np.where(deviation > 0, deviation, 1), rtol=1e-6)
    assert int(layer.count.numpy()) == len(images)


def test_a_pixel_that_never_varies_keeps_its_value_less_the_mean() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 1))
    images[:, 1, 2] = 201
    images[:, 0, 0] = 0
    mean, deviation = _statistics(images.sum(0), np.square(images).sum(0), len(images), by_pixel=True)
    assert mean[1, 2, 0] == 201 and mean[0, 0, 0] == 0 and deviation[1, 2, 0] == deviation[0, 0, 0] == 1
    np.testing.assert_allclose(mean, images.mean(0), rtol=1e-6)
    assert mean.dtype == deviation.dtype == np.dtype(np.float32)
    layer = _model((3, 4, 1), by_pixel=True).get_layer("standardise")
    layer.mean.assign(mean)
    layer.deviation.assign(deviation)
    found = layer(images.astype(np.float32)).numpy()
    np.testing.assert_array_equal(found[:, 1, 2], 0)
    np.testing.assert_array_equal(layer(np.full((1, 3, 4, 1), 210, np.float32)).numpy()[0, 1, 2], 9)
    others = np.delete(np.delete(images.reshape(7, 12), 6, 1), 0, 1)
    expected = (others - others.mean(0)) / others.std(0)
    np.testing.assert_allclose(np.delete(np.delete(found.reshape(7, 12), 6, 1), 0, 1), expected, atol=1e-4)


def test_a_layer_with_statistics_and_a_model_without_the_layer_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records.open(DATASETS / "raw")
    images = records.images("train")
    measured = _model(images.shape, by_pixel=False)  # type: ignore[arg-type]
    measure(measured, records, images, "train")
    before = measured.get_weights()

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(statistics, "split_dataset", refuse)
    measure(measured, records, images, "train")
    measure(build_model("mnist_cnn", (8, 8, 3), Labels(1)), records, images, "train")
    for found, expected in zip(measured.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_every_replica_gets_the_statistics() -> None:
    records = Records.open(DATASETS / "raw")
    strategy = make_strategy(Cluster(), "cpu", 1.0)
    if strategy.num_replicas_in_sync < 2:
        pytest.skip("TensorFlow has started with one device")
    images = records.images("train")
    with strategy.scope():
        model = _model(images.shape, by_pixel=True)  # type: ignore[arg-type]
    measure(model, records, images, "train")
    expected = _measured(records, images.shape, by_pixel=True).get_weights()  # type: ignore[arg-type]
    found = strategy.run(lambda: [tf.convert_to_tensor(weight) for weight in model.weights])
    for replicas, value in zip(found, expected, strict=True):
        for one in strategy.experimental_local_results(replicas):
            np.testing.assert_array_equal(one.numpy(), value)


def test_a_damaged_shard_is_named_by_the_split(tmp_path: Path) -> None:
    for path in (DATASETS / "raw").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = sorted(tmp_path.glob("*-train.tfrecord-*"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    records = Records.open(tmp_path)
    with pytest.raises(UserError, match="The split train cannot be read: `python -m tfrecords validate "):
        measure(_model((8, 8, 3), True), records, ImageCache(tmp_path, "train"), "train")


def test_weights_without_statistics_are_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "run", Labels(1), (28, 28, 1), model="barcode")
    run = Run.load(tmp_path / "run")
    model = load_model(run)
    assert not run.reads_length and "length_logits" not in model.output
    model.get_layer("standardise").count.assign(0)
    save_weights(model, run.weights)
    rule = r"must hold the mean and deviation of the training images\. Received: a layer standardise of 0 images$"
    with pytest.raises(UserError, match=rule):
        load_model(run)


def test_a_start_from_other_weights_keeps_their_statistics_and_says_so() -> None:
    one = Labels(1)
    source, target = (build_model("barcode", (28, 28, 1), one) for _ in range(2))
    layer = source.get_layer("standardise")
    for weight, value in zip((layer.mean, layer.deviation, layer.count), (30.0, 70.0, 9), strict=True):
        weight.assign(value)
    kept = "standardise keeps the mean and deviation of the images that the weights were trained on."
    assert transfer(source, one, target, one) == kept
    assert [float(value) for value in target.get_layer("standardise").get_weights()] == [30.0, 70.0, 9.0]


def test_statistics_by_pixel_are_measured_again_for_images_of_another_size() -> None:
    one = Labels(1)
    source, target = (build_model("optdigits_cnn", (size, size, 1), one) for size in (8, 10))
    source.get_layer("standardise").count.assign(9)
    told = transfer(source, one, target, one)
    assert told.startswith("new: standardise, dense, flat_digit_logits; all other layers are kept. ")
    assert "keeps the mean" not in told and int(target.get_layer("standardise").count.numpy()) == 0
    np.testing.assert_array_equal(target.get_layer("conv1").kernel.numpy(), source.get_layer("conv1").kernel.numpy())
