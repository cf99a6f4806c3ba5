"""The rows of the table of layers: settings in words, shapes, and weights that add up."""

import keras
import pytest
from keras import layers

from tests.small_network import small
from tfrecords.record.labels import Labels
from trainer.inside.kernels import layers_without_picture
from trainer.inside.layers import layer_rows, model_size
from trainer.models import build_model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


def test_rows_state_what_each_layer_is_and_add_up_to_the_model(model: keras.Model) -> None:
    rows = {row.name: row for row in layer_rows(model)}
    assert list(rows) == [layer.name for layer in model.layers]
    stated = {name: (row.kind, row.configuration, row.shape, row.weights) for name, row in rows.items()}
    assert stated["image"] == ("InputLayer", "", "12 x 10 x 3", 0)
    assert stated["first"] == ("Conv2D", "4 of 3x3, stride 2, tanh", "5 x 4 x 4", 3 * 3 * 3 * 4 + 4)
    assert stated["deep"] == ("DepthwiseConv2D", "2x2, 2 per channel, padded, no bias", "5 x 4 x 8", 2 * 2 * 4 * 2)
    assert stated["drop"] == ("Dropout", "rate 0.5", "5 x 4 x 8", 0)
    assert stated["back"][:3] == ("Conv2DTranspose", "5 of 2x2, stride 2, tanh", "10 x 6 x 5")
    assert stated["length_logits"] == ("Dense", "5", "5", 5 * 5 + 5)
    assert sum(row.weights for row in rows.values()) == model.count_params() == model_size(model).weights


@pytest.mark.parametrize("name", ["compact", "goodfellow"])
def test_the_rows_of_an_architecture_add_up(name: str) -> None:
    built = build_model(name, (16, 16, 1), Labels(1, "01"))
    rows, size = layer_rows(built), model_size(built)
    assert sum(row.weights for row in rows) == size.weights == built.count_params()
    assert sum(row.trainable for row in rows) == size.trainable
    assert size.bytes == sum(weight.numpy().nbytes for weight in built.weights) == 4 * size.weights
    # Batch normalisation's means and variances.
    fixed = {row.kind for row in rows if row.trainable < row.weights}
    assert fixed == ({"BatchNormalization"} if name == "compact" else set())
    assert layers_without_picture(built) == ([] if name == "compact" else ["local9"])


def test_settings_that_are_defaults_are_left_out() -> None:
    images = keras.Input((8, 8, 2), name="image")
    values = layers.BatchNormalization(momentum=0.9, scale=False, name="norm")(images)
    values = layers.MaxPooling2D((2, 1), strides=1, padding="same", name="pool")(layers.ReLU(name="relu")(values))
    values = layers.RandomTranslation(0.1, 0.2, fill_mode="nearest", name="move")(values)
    values = layers.Conv2D(4, 3, dilation_rate=2, groups=2, activation=layers.LeakyReLU(0.1), name="conv")(values)
    built = keras.Model(images, layers.Softmax(axis=1, name="soft")(values))
    assert {row.name: row.configuration for row in layer_rows(built)} == {
        "image": "",
        "norm": "momentum 0.9, no scale",
        "relu": "",
        "pool": "2x1, stride 1, padded",
        "move": "height factor 0.1, width factor 0.2, fill mode nearest",
        "conv": "4 of 3x3, dilation 2, 2 groups, LeakyReLU",
        "soft": "axis 1",
    }
