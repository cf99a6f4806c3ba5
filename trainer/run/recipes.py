"""Defaults of `train` that depend on the model and the optimizer, such as those that a network was published with."""

from collections.abc import Mapping
from typing import Any

_PLAIN = {"contrast": 0.0, "brightness": 0.0, "invert": 0.0}
"""Settings without augmentation. All other changes to images are 0 by default."""
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
"""Settings that most published networks share: a constant learning rate, the last epoch's weights, no augmentation."""

_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adamw": {},
    # Keras's default when the networks below were published. It is 0.001 now.
    "adadelta": {"learning_rate": 1.0, "weight_decay": 0.0},
    "adam": {"learning_rate": 0.001, "weight_decay": 0.0},
    "sgd": {"learning_rate": 0.01, "weight_decay": 0.0},
}
"""Defaults by optimizer, where they differ from those of `TrainConfig`."""

_MODELS: dict[str, dict[str, Any]] = {
    "mnist_cnn": {"optimizer": "adadelta", "global_batch_size": 128, "epochs": 12, **_PUBLISHED},
    "optdigits_cnn": {"optimizer": "adadelta", "global_batch_size": 128, "epochs": 25, **_PUBLISHED},
    # The authors of the next two left the learning rate open: docs/systems.md has what was tried.
    "mnist_vgg": {
        "optimizer": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "global_batch_size": 32,
        "epochs": 3,
        **_PUBLISHED,
        "learning_rate": 0.03,
        "schedule": "cosine",
    },
    "barcode": {
        "optimizer": "adam",
        "epsilon": 1e-4,
        "global_batch_size": 256,
        "epochs": 80,
        **_PUBLISHED,
        "learning_rate": 0.003,
        "schedule": "cosine",
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
    # Its numbers are upright; pictures are 25 times as large as those of a reader, and their sizes vary more.
    "finder": {
        "epochs": 20,
        "learning_rate": 2e-3,
        "contrast": 0.5,
        "brightness": 30.0,
        "invert": 0.1,
        "zoom": 0.6,
        "stretch": 0.15,
        "translate": 0.2,
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
_OF_OPTIMIZER = ("optimizer", "learning_rate", "decay", "weight_decay", "momentum", "nesterov", "epsilon")
"""Settings of a model's recipe that hold only for the optimizer that it was published with."""


def recipe(given: Mapping[str, Any], model: str, optimizer: str) -> dict[str, Any]:
    """Returns the defaults that depend on the model and the optimizer, by name.

    With another optimizer than the model's own, the learning rate, the momentum and so on are those of that optimizer.
    Without the constant learning rate of a recipe, its decay is left out, and without its momentum Nesterov's form.

    Args:
      given: Settings that a user gave, by name.
      model: Default model.
      optimizer: Default optimizer.
    """
    of_model = _MODELS.get(given.get("model", model), {})
    own = of_model.get("optimizer", optimizer)
    chosen = given.get("optimizer", own)
    if chosen != own:
        of_model = {name: value for name, value in of_model.items() if name not in _OF_OPTIMIZER}
    found = {**_OPTIMIZERS.get(chosen, {}), **of_model}
    if given.get("schedule", found.get("schedule")) != found.get("schedule"):
        found.pop("decay", None)
    if given.get("momentum") == 0:
        found.pop("nesterov", None)
    return found
