"""The architecture that finds numbers."""

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from trainer.models import FINDERS, MODELS, build_model
from trainer.models.build import check_model
from trainer.models.finder import STRIDE

MOST_WEIGHTS = 600_000


def test_finder_is_small_and_no_reader() -> None:
    assert build_model("finder", (320, 320, 3)).count_params() <= MOST_WEIGHTS
    assert not set(FINDERS) & set(MODELS)
    with pytest.raises(UserError, match="finder needs images of at least 32 x 32 pixels"):
        check_model("finder", (24, 64, 3))


@pytest.mark.parametrize("sides", [(64, 64), (96, 160), (104, 72)])
def test_each_place_of_any_canvas_of_whole_places_has_its_outputs(sides: tuple[int, int]) -> None:
    model = build_model("finder", (*sides, 1))
    rows, columns = (side // STRIDE for side in sides)
    shapes = {name: tuple(each.shape[1:]) for name, each in model.output.items()}
    assert shapes == {"heat_logits": (rows, columns, 1), "distance_logits": (rows, columns, 4)}


def test_an_untrained_finder_expects_few_numbers_of_a_middle_size() -> None:
    keras.utils.set_random_seed(0)
    model = build_model("finder", (64, 64, 3))
    outputs = model(np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.float32))
    assert np.asarray(keras.ops.sigmoid(outputs["heat_logits"])).mean() == pytest.approx(0.01, rel=0.5)
    assert np.exp(np.asarray(outputs["distance_logits"])).mean() == pytest.approx(4, rel=0.5)


def test_weights_do_not_depend_on_the_size_of_the_pictures() -> None:
    small, large = (build_model("finder", (side, side, 3)) for side in (64, 320))
    assert [weight.shape for weight in small.weights] == [weight.shape for weight in large.weights]
