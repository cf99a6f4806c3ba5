"""The architectures: one a file, pure Keras 3, all with the same input and outputs.

Input: pictures (batch, height, width, channels), 0..255, not normalised. Outputs: `length_logits`
(batch, 7) and `digit_logits` (batch, 5, 10), unnormalised log-probabilities.
"""

from collections.abc import Callable

import keras

from tfrecords.errors import UserError
from trainer.models import compact, goodfellow, vgg

MODELS: dict[str, Callable[[tuple[int, int, int]], keras.Model]] = {
    "compact": compact.build,
    "goodfellow": goodfellow.build,
    "vgg": vgg.build,
}

__all__ = ["MODELS", "build_model"]


def build_model(name: str, image_shape: tuple[int, int, int]) -> keras.Model:
    """Returns an untrained model.

    Raises:
      UserError: there is no architecture of that name.
    """
    if name not in MODELS:
        raise UserError(f"model must be one of {', '.join(MODELS)}.", name)
    return MODELS[name](image_shape)
