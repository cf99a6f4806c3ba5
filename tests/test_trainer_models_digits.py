"""Our networks for one digit: their sizes, counted by hand, and what the barcode is."""

import keras
import numpy as np
import pytest

from tfrecords.record.labels import Labels
from trainer.models import build_model

_ONE = Labels(1)
_MNIST = 28, 28, 1


def _conv(before: int, after: int, size: int = 3) -> int:
    """Returns the weights of a convolution without bias and of the normalisation after it: four values a channel."""
    return size * size * before * after + 4 * after


def _block(before: int, after: int) -> int:
    return _conv(before, after) + _conv(after, after) + (_conv(before, after, 1) if before != after else 0)


def test_digits_has_the_weights_that_its_layers_add_up_to() -> None:
    blocks = _block(16, 32) + _block(32, 32) + _block(32, 64) + _block(64, 64)
    model = build_model("digits", _MNIST, _ONE)
    assert model.count_params() == _conv(1, 16) + blocks + (64 + 1) * 10 == 166_618
    assert [output.shape for output in model.outputs] == [(None, 1, 10)]


def test_our_barcode_has_no_more_weights_than_the_published_one() -> None:
    layers = _conv(1, 12) + _conv(12, 16) + _block(16, 16) + _block(16, 24) + _conv(24, 40, 1)
    ours, published = (build_model(name, _MNIST, _ONE) for name in ("barcode_residual", "barcode"))
    assert ours.count_params() == layers + (40 + 1) * 20 + (20 + 1) * 10 == 18_146
    assert ours.count_params() < published.count_params() == 18_813


def test_the_barcode_is_the_mean_of_each_of_40_maps() -> None:
    keras.utils.set_random_seed(0)
    model = build_model("barcode_residual", _MNIST, _ONE)
    both = keras.Model(model.input, [model.get_layer("maps_relu").output, model.get_layer("barcode").output])
    images = np.random.default_rng(0).integers(0, 256, (2, *_MNIST)).astype(np.float32)
    maps, barcode = (np.asarray(value) for value in both(images, training=False))
    assert barcode.shape == (2, 40)
    np.testing.assert_allclose(barcode, maps.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize(("name", "last"), [("digits", "stage2_block2_relu2"), ("barcode_residual", "maps_relu")])
@pytest.mark.parametrize(("side", "places"), [(28, 7), (16, 4), (15, 15), (8, 8)])
def test_sides_below_16_pixels_are_not_halved(name: str, last: str, side: int, places: int) -> None:
    assert build_model(name, (side, side, 1), _ONE).get_layer(last).output.shape[1:3] == (places, places)
