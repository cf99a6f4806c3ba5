"""Defaults of `train` that depend on the model and the optimizer: those that a network was published with."""

from collections.abc import Mapping
from typing import Any

_PLAIN = {"contrast": 0.0, "brightness": 0.0, "invert": 0.0}
"""No augmentation: of the changes to images, only these three are not 0 by default."""
_OURS = {
    "epochs": 30,
    "global_batch_size": 128,
    "learning_rate": 0.01,
    "weight_decay": 0.02,
    "keep": "last",
    **_PLAIN,
    "zoom": 0.1,
    "stretch": 0.1,
    "rotate": 10.0,
    "shear": 0.1,
    "translate": 0.08,
}
"""Recipe of our networks for one digit. It needs no validation pictures, so that all can be trained on."""
_PUBLISHED = {"schedule": "constant", "warmup_epochs": 0.0, "clip_norm": 0.0, "keep": "last", **_PLAIN}
"""What the published networks have in common: a constant learning rate, no validation, no augmentation."""

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {},
    # Keras's default in the days when the networks below were published; 0.001 since.
    "adadelta": {"learning_rate": 1.0, "weight_decay": 0.0},
    "adam": {"learning_rate": 0.001, "weight_decay": 0.0},
    "sgd": {"learning_rate": 0.01, "weight_decay": 0.0},
}
"""Defaults by optimizer, where they differ from those of `TrainConfig`."""

MODELS: dict[str, dict[str, Any]] = {
    "mnist_cnn": {"optimizer": "adadelta", "global_batch_size": 128, "epochs": 12, **_PUBLISHED},
    "optdigits_cnn": {"optimizer": "adadelta", "global_batch_size": 128, "epochs": 25, **_PUBLISHED},
    "mnist_vgg": {"optimizer": "sgd", "momentum": 0.9, "global_batch_size": 32, "epochs": 3, **_PUBLISHED},
    "barcode": {
        "optimizer": "adam",
        "epsilon": 1e-4,
        "global_batch_size": 256,
        "epochs": 80,
        **_PUBLISHED,
        "rotate": 36.0,
        "translate": 0.1,
    },
    "barcode_residual": _OURS,
    # Nine times the weights: more epochs, and larger changes to images.
    "digits": {
        **_OURS,
        "epochs": 40,
        "global_batch_size": 64,
        "learning_rate": 0.004,
        "weight_decay": 0.05,
        "zoom": 0.15,
        "stretch": 0.15,
        "rotate": 12.0,
        "shear": 0.15,
        "translate": 0.1,
    },
    "conv2": {
        "optimizer": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "decay": 1e-6,
        "global_batch_size": 200,
        **_PUBLISHED,
    },
}
"""Defaults by model, where they differ from those of `TrainConfig` and of the model's optimizer."""


def recipe(given: Mapping[str, Any], model: str, optimizer: str) -> dict[str, Any]:
    """Returns the defaults that settings leave to the model and its optimizer, by name.

    A model's other defaults hold for the optimizer that it was published with: with another one, that one's learning
    rate, momentum and so on are used.

    Args:
      given: Settings that a user gave, by name.
      model: Default model.
      optimizer: Default optimizer.
    """
    of_model = MODELS.get(given.get("model", model), {})
    usual = of_model.get("optimizer", optimizer)
    chosen = given.get("optimizer", usual)
    if chosen != usual:
        of_model = {name: value for name, value in of_model.items() if name not in _OF_OPTIMIZER}
    return {**OPTIMIZERS.get(chosen, {}), **of_model}


_OF_OPTIMIZER = ("optimizer", "learning_rate", "momentum", "nesterov", "epsilon", "weight_decay")
"""Settings that a model's recipe chooses for its own optimizer only."""
