"""Feature maps, barcodes and attention, against convolutions and means in NumPy."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from tests.small_network import SHAPE, heads, small
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.inside.attention import attention_maps, attention_weights
from trainer.inside.barcode import barcodes
from trainer.inside.features import feature_maps
from trainer.inside.saliency import occlusion, saliency
from trainer.models import build_model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


@pytest.fixture(scope="module")
def compact() -> keras.Model:
    """`compact` for images of 20 x 16, reduced to 3 x 2 places."""
    keras.utils.set_random_seed(2)
    return build_model("compact", (20, 16, 1), Labels(2, "0123456789"))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (70, *SHAPE), np.uint8)


def convolve(values: NDArray[np.float64], kernel: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """A convolution without padding, by its definition."""
    size, places = kernel.shape[0], [(n - kernel.shape[0]) // stride + 1 for n in values.shape[:2]]
    result = np.zeros((*places, kernel.shape[-1]))
    for y, x in np.ndindex(*places):
        window = values[y * stride : y * stride + size, x * stride : x * stride + size]
        result[y, x] = np.einsum("yxi,yxio->o", window, kernel)
    return result


def test_feature_maps_are_what_a_convolution_in_numpy_gives(images: NDArray[np.uint8]) -> None:
    keras.utils.set_random_seed(4)
    inputs = keras.Input(SHAPE)
    first = layers.Conv2D(5, 3, strides=2, bias_initializer="ones", name="first")(inputs)
    second = layers.Conv2D(4, 2, activation="relu", name="second")(layers.Dropout(0.9)(first))
    model = keras.Model(inputs, second)
    weights = [weight.numpy().astype(np.float64) for weight in model.weights]
    one = convolve(images[0].astype(np.float64), weights[0], 2) + weights[1]
    expected = {"first": one, "second": np.maximum(convolve(one, weights[2], 1) + weights[3], 0)}
    found = feature_maps(model, images[0])
    assert [maps.layer for maps in found] == list(expected)
    for maps in found:
        values = expected[maps.layer]
        assert maps.shape == values.shape
        np.testing.assert_allclose((maps.low, maps.high), (values.min(), values.max()), rtol=1e-5, atol=1e-3)
        height, width, channels = values.shape
        for channel in range(channels):
            line = max(1, maps.factor // 4)
            top = line + channel // maps.columns * (height * maps.factor + line)
            left = line + channel % maps.columns * (width * maps.factor + line)
            place = maps.image[top : top + height * maps.factor, left : left + width * maps.factor, 0]
            pixels = place.reshape(height, maps.factor, width, maps.factor)
            assert (pixels == pixels[:, :1, :, :1]).all()
            grey = (values[..., channel] - values.min()) / (values.max() - values.min()) * 255
            np.testing.assert_allclose(pixels[:, 0, :, 0], grey, atol=0.51)


def test_feature_maps_fill_a_table_where_the_channels_allow_it() -> None:
    inputs = keras.Input((6, 6, 1))
    model = keras.Model(inputs, [layers.Conv2D(count, 1)(inputs) for count in (32, 40, 7, 1, 144)])
    assert [maps.columns for maps in feature_maps(model, np.zeros((6, 6, 1), np.uint8))] == [8, 8, 3, 1, 12]
    assert feature_maps(keras.Model(inputs, layers.Flatten()(inputs)), np.zeros((6, 6, 1), np.uint8)) == []


def test_barcodes_are_means_and_differences_of_the_pooled_features(
    model: keras.Model, images: NDArray[np.uint8]
) -> None:
    index = np.arange(70) % 4
    index[:60] = 0  # more of class a than are averaged
    index[66] = 5  # the padding: no character
    found = barcodes(model, images, index, "abcde")
    assert found is not None and found.layer == "pooled"
    features = keras.Model(model.input, model.get_layer("back").output)(images.astype(np.float32)).numpy().mean((1, 2))
    members = [np.flatnonzero(index == each) for each in range(4)]
    assert found.classes == "abcd" and found.counts.tolist() == [50, *(len(each) for each in members[1:])]
    assert found.means.shape == (4, 5) and found.examples.shape == (4, 10, 5)
    for place, each in enumerate(members):
        mean = features[each[:50]].mean(axis=0)
        np.testing.assert_allclose(found.means[place], mean, atol=1e-6)
        shown = features[each[:10]] - mean
        np.testing.assert_allclose(found.examples[place, : len(shown)], shown, atol=1e-6)
        assert np.isnan(found.examples[place, len(shown) :]).all()


def test_the_barcode_of_compact_is_what_the_first_position_attends_to(compact: keras.Model) -> None:
    images = np.random.default_rng(5).integers(0, 256, (6, 20, 16, 1), np.uint8)
    found = barcodes(compact, images, np.array([3, 3, 7, 3, 7, 10]), "0123456789")
    assert found is not None and (found.layer, found.classes) == ("attended", "37")
    part = keras.Model(compact.input, [compact.get_layer(name).output for name in ("attention", "features")])
    weights, features = (np.asarray(value) for value in part(images.astype(np.float32)))
    attended = np.einsum("bp,bpc->bc", weights[:, 0], features)
    np.testing.assert_allclose(found.means[0], attended[[0, 1, 3]].mean(axis=0), rtol=1e-4, atol=1e-5)
    assert found.examples.shape == (2, 3, 128) and np.isnan(found.examples[1, 2]).all()


def test_barcodes_need_features_and_characters(model: keras.Model, images: NDArray[np.uint8]) -> None:
    inputs = keras.Input(SHAPE)
    assert barcodes(keras.Model(inputs, heads(layers.Flatten()(inputs))), images, np.zeros(70, int), "ab") is None
    with pytest.raises(UserError, match=r"one class for each of the 70 images\. Received: \(3,\)"):
        barcodes(model, images, np.zeros(3, int), "ab")
    with pytest.raises(UserError, match=r"at least one of the characters 'ab'\. Received: none"):
        barcodes(model, images, np.full(70, 2), "ab")


def test_attention_sums_to_one_over_the_places_and_lies_over_the_image(
    compact: keras.Model, model: keras.Model, images: NDArray[np.uint8]
) -> None:
    image = np.random.default_rng(6).integers(0, 256, (20, 16, 1), np.uint8)
    weights = attention_weights(compact, image)
    assert weights is not None and weights.shape == (2, 3, 2)
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, rtol=1e-5)
    maps = attention_maps(compact, image)
    assert maps is not None and maps.shape == (2, 20, 16) and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max(axis=(1, 2)).tolist() == [1, 1]
    # A corner has the value of its place: 20 / 3 x 16 / 2 pixels each.
    largest = np.array([np.unravel_index(each.argmax(), each.shape) for each in weights])
    for each, (row, column) in zip(maps, largest, strict=True):
        y, x = np.unravel_index(each.argmax(), each.shape)
        assert (int(y * 3 / 20), int(x * 2 / 16)) == (row, column)
    corner = weights[:, 0, 0] / weights[:, 0, 1]
    np.testing.assert_allclose(maps[:, 0, 0] / maps[:, 0, -1], corner, rtol=1e-4)
    assert attention_maps(model, images[0]) is None


def test_equal_input_gives_equal_bytes(model: keras.Model, compact: keras.Model, images: NDArray[np.uint8]) -> None:
    image = np.random.default_rng(8).integers(0, 256, (20, 16, 1), np.uint8)
    for function in (saliency, attention_maps, partial(occlusion, size=5)):
        once, again = (function(compact, image) for _ in range(2))
        assert once is not None and again is not None and once.tobytes() == again.tobytes()
    first, second = ([maps.image.tobytes() for maps in feature_maps(model, images[0])] for _ in range(2))
    assert first == second
