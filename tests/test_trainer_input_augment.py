"""The warp of training pictures, and where the windows of an averaged answer lie."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfrecords.errors import UserError
from trainer.input import augment as module
from trainer.input.augment import augment, centre_window, random_window, uniforms_needed, warped_window, window_places
from trainer.run.config import AugmentConfig

WARPED = AugmentConfig(zoom=0.2, stretch=0.2, rotate=10.0, shear=0.2)
MIDDLE = np.full((1, 6), 0.5, np.float32)


def _smooth(size: int = 64, count: int = 1) -> np.ndarray:
    """Pictures without sharp edges: (count, size, size, 3) uint8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC)) for one in coarse])


def _warp(images: np.ndarray, size: int, config: AugmentConfig, uniform: np.ndarray) -> np.ndarray:
    return warped_window(tf.constant(images), (size, size), config, tf.constant(uniform, tf.float32)).numpy()


def test_half_of_every_number_is_no_change_and_the_middle() -> None:
    images = _smooth()
    np.testing.assert_allclose(_warp(images, 54, WARPED, MIDDLE), images[:, 5:59, 5:59], atol=0.05)


def test_the_window_of_a_warp_lies_where_its_numbers_say() -> None:
    images = _smooth(count=2)
    uniform = np.array([[0.0, 0.3, 0.5, 0.5, 0.5, 0.5], [0.8, 0.1, 0.5, 0.5, 0.5, 0.5]], np.float32)
    windows = _warp(images, 54, WARPED, uniform)
    np.testing.assert_allclose(windows[0], images[0, 0:54, 3:57], atol=0.05)
    np.testing.assert_allclose(windows[1], images[1, 8:62, 1:55], atol=0.05)


@pytest.mark.parametrize(
    ("config", "number", "expected"),
    [
        # A mark 10 pixels right of and 10 below the middle goes to these places, x and y from the middle.
        (AugmentConfig(zoom=0.5), 2, (15.0, 15.0)),
        (AugmentConfig(stretch=0.21), 3, (10 / 1.1, 11.0)),
        (AugmentConfig(rotate=90.0), 4, (10.0, -10.0)),
        (AugmentConfig(shear=0.5), 5, (5.0, 10.0)),
        # The window moves down, so the mark moves up: by a tenth of 65 pixels.
        (AugmentConfig(translate=0.1), 0, (10.0, 3.5)),
        (AugmentConfig(translate=0.1), 1, (3.5, 10.0)),
    ],
    ids=["zoom", "stretch", "turn", "shear", "down", "right"],
)
def test_each_number_of_the_warp_does_one_thing(
    config: AugmentConfig, number: int, expected: tuple[float, float]
) -> None:
    images = np.zeros((1, 65, 65, 1), np.uint8)
    images[0, 41:44, 41:44] = 200
    uniform = MIDDLE.copy()
    uniform[0, number] = 1.0
    mark = _warp(images, 65, config, uniform)[0, :, :, 0]
    y, x = np.mgrid[:65, :65] - 32.0
    found = (mark * x).sum() / mark.sum(), (mark * y).sum() / mark.sum()
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_behind_the_edge_the_edge_goes_on() -> None:
    images = np.full((1, 54, 54, 3), 90, np.uint8)
    uniform = np.random.default_rng(0).random((1, 6), np.float32)
    np.testing.assert_allclose(_warp(images, 54, WARPED, uniform), 90.0, atol=1e-3)


@pytest.mark.parametrize("shape", [(64, 64, 3), (54, 54, 3), (60, 70, 1)])
def test_warps_without_tensorflow_s_own_operation_are_the_same(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    images, uniform = rng.integers(0, 256, (3, *shape), np.uint8), rng.random((3, 6), np.float32)
    expected = _warp(images, 54, WARPED, uniform)
    monkeypatch.setattr(module, "_resample_in_tensorflow", module.resample_by_gathers)
    np.testing.assert_allclose(_warp(images, 54, WARPED, uniform), expected, atol=1e-3)


@pytest.mark.parametrize("config", [AugmentConfig(), WARPED], ids=["plain", "warped"])
def test_pictures_are_changed_alike_in_a_graph_that_does_not_know_their_size(config: AugmentConfig) -> None:
    spec = [tf.TensorSpec((None, None, None, 3), tf.uint8), tf.TensorSpec((None, uniforms_needed(3)), tf.float32)]
    graph = tf.function(lambda images, uniform: augment(images, (54, 54), config, uniform), input_signature=spec)
    images = np.random.default_rng(0).integers(0, 256, (3, 60, 70, 3), np.uint8)
    uniform = np.random.default_rng(1).random((3, uniforms_needed(3)), np.float32)
    expected = augment(tf.constant(images), (54, 54), config, tf.constant(uniform))
    np.testing.assert_allclose(graph(images, uniform), expected, atol=1e-3)
    assert graph.get_concrete_function().output_shapes.as_list() == [None, 54, 54, 3]


def test_a_picture_s_warp_is_of_its_own_numbers_alone() -> None:
    images = _smooth(count=4)
    uniform = np.random.default_rng(0).random((4, uniforms_needed(3)), np.float32)
    together = augment(tf.constant(images), (54, 54), WARPED, tf.constant(uniform)).numpy()
    alone = augment(tf.constant(images[2:3]), (54, 54), WARPED, tf.constant(uniform[2:3])).numpy()
    np.testing.assert_allclose(together[2:3], alone, atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 10


def test_without_warp_the_window_is_taken_and_not_resampled() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    uniform = np.random.default_rng(1).random((2, uniforms_needed(3)), np.float32)
    still = AugmentConfig(contrast=0.0, brightness=0.0, invert=0.0)
    windows = random_window(tf.constant(images), (54, 54), tf.constant(uniform[:, :2]))
    np.testing.assert_allclose(augment(tf.constant(images), (54, 54), still, tf.constant(uniform)), windows, atol=1e-3)


def test_places_of_windows_are_spread_over_the_margins() -> None:
    places = np.array(window_places(9))
    assert places.shape == (9, 2) and (places >= 0).all() and (places < 1).all()
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(9)
    assert apart.min() > 0.2 and window_places(3) == window_places(9)[:3]
    assert (places.min(axis=0) < 0.2).all() and (places.max(axis=0) > 0.75).all()


def test_ten_crops_answer_with_the_mean_probabilities_of_ten_windows() -> None:
    import keras

    from trainer.scoring.inference import make_forward

    inputs = keras.Input((54, 54, 3))
    corner = inputs[:, 0, 0, :] / 40.0
    model = keras.Model(inputs, {"length_logits": corner, "digit_logits": keras.ops.stack([corner, -corner], 1)})
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))
    outputs = make_forward(model, crops=10)(images)
    windows = [centre_window(images, (54, 54))]
    windows += [random_window(images, (54, 54), tf.constant([place] * 3, tf.float32)) for place in window_places(9)]
    corners = np.stack([np.asarray(window, np.float64)[:, 0, 0] for window in windows]) / 40.0
    probabilities = np.exp(corners) / np.exp(corners).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(outputs["length_logits"]), probabilities.mean(0), atol=1e-5)
    np.testing.assert_allclose(make_forward(model)(images)["length_logits"].numpy(), corners[0], atol=1e-4)


def _sampled(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns a grey image at places between its pixels: `numpy.interp` down, then across, which repeats the edge."""
    height, width = image.shape
    down = np.stack([np.interp(rows, np.arange(height), column) for column in image.T.astype(float)], 1)
    return np.stack([np.interp(columns, np.arange(width), row) for row in down])


def test_a_shift_is_numpy_s_interpolation_between_pixels() -> None:
    images = _smooth(24, count=3)[..., :1]
    uniform = np.random.default_rng(0).random((3, 6), np.float32)
    found = _warp(images, 24, AugmentConfig(translate=0.2), uniform)
    for image, window, (y, x) in zip(images, found, uniform[:, :2].astype(float), strict=True):
        rows, columns = (np.arange(24) + (2 * place - 1) * 0.2 * 24 for place in (y, x))
        np.testing.assert_allclose(window[..., 0], _sampled(image[..., 0], rows, columns), atol=0.01)


def test_a_shift_adds_to_the_place_of_the_window() -> None:
    images = _smooth(64)
    uniform = np.array([[1.0, 0.0, 0.5, 0.5, 0.5, 0.5]], np.float32)
    window = _warp(images, 54, AugmentConfig(translate=0.1), uniform)[0, ..., 0]
    # The last of 10 places down and the first across, and from there a tenth of 54 pixels down and to the left.
    expected = _sampled(images[0, ..., 0], np.arange(54) + 10 + 5.4, np.arange(54) - 5.4)
    np.testing.assert_allclose(window, expected, atol=0.01)


@pytest.mark.parametrize("name", ["zoom", "stretch", "shear", "rotate", "translate"])
def test_a_warp_below_nothing_is_refused(name: str) -> None:
    from trainer.run.config import TrainConfig

    with pytest.raises(UserError, match=rf"{name} must be 0\.\..*Received: -0\.1"):
        TrainConfig(augment=AugmentConfig(**{name: -0.1}))
