"""Saliency against finite differences, occlusion against images covered by hand, and the number that both explain."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from tests.small_network import SHAPE, heads, small
from tfrecords.errors import UserError
from tfrecords.record.labels import Labels
from trainer.inside.features import feature_maps
from trainer.inside.forward import BATCH
from trainer.inside.number import Number, log_probability, predicted_number
from trainer.inside.saliency import occlusion, pixel_gradient, saliency
from trainer.scoring.decode import decode_predictions


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (70, *SHAPE), np.uint8)


def outputs(model: keras.Model, images: NDArray[np.generic]) -> dict[str, NDArray[np.float64]]:
    return {name: np.asarray(value, np.float64) for name, value in model(images.astype(np.float32)).items()}


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def log_of(model: keras.Model, images: NDArray[np.generic], number: Number) -> NDArray[np.float64]:
    """Log-probability of a number, in NumPy."""
    found = {name: log_softmax(value) for name, value in outputs(model, images).items()}
    log = np.zeros(len(images)) if number.length is None else found["length_logits"][:, number.length]
    return log + sum(found["digit_logits"][:, place, digit] for place, digit in enumerate(number.digits))


@pytest.mark.parametrize("length", [True, False])
def test_the_gradient_is_that_of_finite_differences(length: bool, images: NDArray[np.uint8]) -> None:
    model = small(length)
    image = images[0]
    number = predicted_number(model(image[None].astype(np.float32)))
    assert (number.length is None) != length
    gradient = pixel_gradient(model, image)
    assert gradient.shape == SHAPE and gradient.any()
    steps = np.zeros((2, *SHAPE, *SHAPE), np.float32)
    for sign, each in zip((8, -8), steps, strict=True):  # grey levels: small for the model, large for float32
        each.reshape(image.size, image.size)[np.diag_indices(image.size)] = sign
    both = [log_of(model, (image + each).reshape(-1, *SHAPE), number) for each in steps]
    np.testing.assert_allclose((both[0] - both[1]).reshape(SHAPE) / 16, gradient, atol=0.02 * np.abs(gradient).max())
    strength = np.abs(gradient).max(axis=-1)
    np.testing.assert_array_equal(saliency(model, image), strength / strength.max())


def test_an_image_that_does_not_matter_has_no_saliency() -> None:
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, heads(layers.Rescaling(0.0)(layers.Flatten()(inputs))))
    assert not saliency(model, np.full((4, 4, 1), 9, np.uint8)).any()


@pytest.mark.parametrize("size", [1, 4, 10])
def test_occlusion_is_the_mean_loss_of_the_squares_over_a_place(
    model: keras.Model, images: NDArray[np.uint8], size: int
) -> None:
    image = images[1]
    number = predicted_number(model(image[None].astype(np.float32)))
    before = log_of(model, image[None], number)[0]
    losses: dict[tuple[int, int], list[float]] = {place: [] for place in np.ndindex(SHAPE[:2])}
    starts = [sorted({*range(0, side - size, max(1, size // 2)), side - size}) for side in SHAPE[:2]]
    for top in starts[0]:
        for left in starts[1]:
            hidden = image.copy()
            hidden[top : top + size, left : left + size] = round(float(image.mean()))
            loss = before - log_of(model, hidden[None], number)[0]
            for y, x in np.ndindex(size, size):
                losses[top + y, left + x].append(loss)
    expected = np.array([np.mean(losses[place]) for place in losses]).reshape(SHAPE[:2])
    found = occlusion(model, image, size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (size > 1) or len(starts[0]) * len(starts[1]) > BATCH


def test_squares_and_images_of_another_size_are_refused(model: keras.Model, images: NDArray[np.uint8]) -> None:
    for size in (0, 11):
        with pytest.raises(UserError, match=f"must be 1..10 pixels. Received: {size}"):
            occlusion(model, images[0], size)
    for wrong in (images[0, :5], images[0].astype(np.float32)):
        with pytest.raises(UserError, match=r"small takes uint8 images of 12 x 10 x 3\. Received: "):
            saliency(model, wrong)
        with pytest.raises(UserError, match=r"small takes uint8 images of 12 x 10 x 3\. Received: "):
            feature_maps(model, wrong)


def test_the_predicted_number_is_that_of_decode_predictions() -> None:
    rng = np.random.default_rng(7)
    lengths, digits = rng.normal(size=(40, 5)) * 3, rng.normal(size=(40, 3, 4))
    found = decode_predictions(lengths, digits, Labels(3, "abcd"))
    assert len(set(found.length.tolist())) == 5
    for place in range(40):
        logits = {"length_logits": lengths[[place]], "digit_logits": digits[[place]]}
        number = predicted_number(logits)
        assert number == Number(found.length[place], tuple(found.digits[place, : found.length[place]].tolist()))
        np.testing.assert_allclose(np.exp(log_probability(logits, number)), found.confidence[place], rtol=1e-5)
    one = predicted_number({"digit_logits": digits[:1, :1]})
    assert one == Number(None, (int(digits[0, 0].argmax()),))
