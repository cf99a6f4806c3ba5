"""The architectures: their shapes, what is in them, and that no normalising is left to the caller."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from trainer.export.files import write_h5
from trainer.models import FINDERS, MODELS, build_model
from trainer.models.goodfellow import LocallyConnected, Maxout, SubtractiveNormalisation
from trainer.models.layers import Rescale, Standardise, TrainingStandardise

SIZE = 24
"""Height and width of images, in pixels, where a layer's size is not what is tested: large enough for all models."""


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(request.param, (SIZE, SIZE, 3))


def _pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.float32)


def test_a_model_answers_with_seven_lengths_and_five_digits(model: keras.Model) -> None:
    outputs = model(_pictures(2), training=False)
    assert outputs["length_logits"].shape == (2, 7) and outputs["digit_logits"].shape == (2, 5, 10)
    assert keras.ops.dtype(outputs["digit_logits"]) == "float32"


def test_brightness_changes_no_answer_because_the_model_normalises(model: keras.Model) -> None:
    # The others are published with the same shift for every image.
    first = model.layers[1]
    assert isinstance(first, Standardise | TrainingStandardise | Rescale)
    if not isinstance(first, Standardise):
        return
    pictures = _pictures(2) / 2
    plain, bright = (model(value, training=False)["digit_logits"] for value in (pictures, pictures + 100))
    np.testing.assert_allclose(plain, bright, atol=2e-3)


def test_every_weight_gets_a_gradient(model: keras.Model) -> None:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(_pictures(4), training=True)
        loss = tf.reduce_sum(outputs["length_logits"] ** 2) + tf.reduce_sum(outputs["digit_logits"] ** 2)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.path


def test_a_model_comes_back_from_its_own_configuration(model: keras.Model) -> None:
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    pictures = _pictures(1)
    np.testing.assert_allclose(
        again(pictures, training=False)["length_logits"], model(pictures, training=False)["length_logits"], atol=1e-5
    )


def test_keras_itself_loads_a_model_s_legacy_file(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    write_h5(model, path)
    again = keras.models.load_model(path, compile=False)
    outputs = model(_pictures(1), training=False)
    for name, value in again(_pictures(1), training=False).items():
        np.testing.assert_array_equal(value, outputs[name])


def test_goodfellow_s_layers_are_the_paper_s() -> None:
    model = build_model("goodfellow", (54, 54, 3))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [3 * 48, 64, 128, 160, 192, 192, 192, 192]
    assert {layer.kernel_size for layer in convolutions} == {(5, 5)}
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [layer.strides[0] for layer in pools] == [2, 1] * 4 and {layer.pool_size for layer in pools} == {(2, 2)}
    assert [layer.output.shape[1] for layer in pools] == [27, 27, 14, 14, 7, 7, 4, 4]
    assert sum(isinstance(layer, SubtractiveNormalisation) for layer in model.layers) == 8
    assert sum(isinstance(layer, LocallyConnected) for layer in model.layers) == 1
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)][:2] == [3072, 3072]
    # Eight convolutional, one locally connected and two dense hidden layers.
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 11


def test_maxout_takes_the_largest_of_three_pieces() -> None:
    model = build_model("goodfellow", (SIZE, SIZE, 3))
    conv = keras.Model(model.input, model.get_layer("conv1").output)(_pictures(1))
    maxed = keras.Model(model.input, model.get_layer("pool1").input)(_pictures(1))
    np.testing.assert_allclose(maxed, np.asarray(conv).reshape(1, SIZE, SIZE, 48, 3).max(-1), atol=1e-5)


def test_subtractive_normalisation_takes_the_neighbourhood_s_mean() -> None:
    values = np.random.default_rng(0).normal(size=(1, 5, 6, 4)).astype(np.float32)
    result = np.asarray(SubtractiveNormalisation()(values))
    np.testing.assert_allclose(result[0, 2, 3], values[0, 2, 3] - values[0, 1:4, 2:5].mean(), atol=1e-5)
    np.testing.assert_allclose(result[0, 0, 0], values[0, 0, 0] - values[0, :2, :2].mean(), atol=1e-5)


def test_maxout_takes_neighbouring_channels_together() -> None:
    values = np.array([[[[1.0, 5.0, 2.0, -3.0]]]], np.float32)
    np.testing.assert_array_equal(Maxout(2)(values), [[[[5.0, 2.0]]]])


@pytest.mark.parametrize("window", [3, 5, 2])
def test_the_locally_connected_layer_has_weights_of_its_own_at_each_place(window: int) -> None:
    layer = LocallyConnected(2, window)
    values = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    layer.build(values.shape)
    layer.bias.assign(np.random.default_rng(1).normal(size=layer.bias.shape))
    kernel, bias = np.asarray(layer.kernel), np.asarray(layer.bias)
    assert kernel.shape == (4, 5, window * window * 3, 2)
    kernel = kernel.reshape(4, 5, window, window, 3, 2)
    before = (window - 1) // 2
    expected = np.zeros((2, 4, 5, 2))
    for y, x, dy, dx in itertools.product(range(4), range(5), range(window), range(window)):
        row, column = y + dy - before, x + dx - before
        if 0 <= row < 4 and 0 <= column < 5:
            expected[:, y, x] += values[:, row, column].astype(float) @ kernel[y, x, dy, dx]
    np.testing.assert_allclose(layer(values), expected + bias, atol=1e-5)


def test_the_locally_connected_layer_brings_no_large_constant_into_a_graph() -> None:
    import tensorflow as tf

    layer = LocallyConnected(192, 5)
    layer.build((None, 4, 4, 192))  # type: ignore[arg-type]  # Keras leaves the batch's size open
    function = tf.function(layer.call).get_concrete_function(tf.TensorSpec((None, 4, 4, 192), tf.float32))
    # 92 MB with ops.image.extract_patches, in each export that freezes the graph.
    assert function.graph.as_graph_def().ByteSize() < 100_000


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(UserError, match=rf"model must be one of {', '.join([*MODELS, *FINDERS])}\. Received: huge"):
        build_model("huge", (54, 54, 3))


def test_vgg_is_the_peer_s_network() -> None:
    model = build_model("vgg", (54, 54, 3))
    units = (3, 48, 64, 128, 160, 192, 192, 192, 192)
    # Kernels without a bias, and scale, offset, mean and variance of each normalisation.
    convolutions = sum(25 * before * after + 4 * after for before, after in itertools.pairwise(units))
    dense = (4 * 4 * 192 + 1) * 3072 + (3072 + 1) * 3072 + (3072 + 1) * (7 + 5 * 10)
    assert model.count_params() == convolutions + dense == 23_390_345
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert [layer.output.shape[1] for layer in pools] == [27, 27, 14, 14, 7, 7, 4, 4]
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {0.2}
