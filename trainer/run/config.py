"""Configuration of a training run: frozen dataclasses whose fields are the flags of `python -m trainer train`.

A field's help line says what it means; `tfrecords.flags` turns it into a flag. The configuration is saved with the run.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfrecords.errors import UserError
from tfrecords.flags import old_names, setting
from trainer.run.cache_folder import DEFAULT_GB, FOLDER_HELP, SIZE_HELP, check_cache_size

DEVICES = ("auto", "cpu", "gpu")
KEEPS = ("best", "last")
OPTIMIZERS = ("adamw", "adadelta", "adam", "sgd")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("float32", "mixed_bfloat16")
"""Data types that layers compute in; the weights are float32 in any case.

mixed_float16 is not among them: its small exponents require loss scaling, which the training loop does not do.
bfloat16 has float32's range and does without.
"""

STREAM_SETTINGS = ("follow", "at", "replay")
"""Settings that choose among the snapshots of a stream: at most one of them."""
_MOST_EPOCHS = 1_000_000
MOST_EXAMPLES = 1 << 20
"""Largest number of examples in a batch."""
_MOST_MINUTES = 35_000
"""Longest time to wait for hosts: TensorFlow counts it in milliseconds of 32 bits."""
_TRAINING = "model and training"
_AUGMENTATION = "augmentation of training images"
_STREAM = "streams (--data of a dataset that grows; docs/training.md)"
_EXECUTION = "execution, without effect on the results"


@dataclass(frozen=True)
class AugmentConfig:
    """Changes to training images on the device, after the random window. Each image draws its own."""

    contrast: float = setting(
        0.5, "largest change of contrast; 0.5: factors from 1/1.5 to 1.5", group=_AUGMENTATION, old="gain"
    )
    brightness: float = setting(
        30.0, "largest change of brightness, in grey levels of 255", group=_AUGMENTATION, old="shift"
    )
    invert: float = setting(0.5, "share of images whose colours are inverted", group=_AUGMENTATION)
    zoom: float = setting(0.0, "largest change of size; 0.15: factors from 1/1.15 to 1.15", group=_AUGMENTATION)
    stretch: float = setting(
        0.0, "largest change of height over width; 0.15: factors from 1/1.15 to 1.15", group=_AUGMENTATION
    )
    rotate: float = setting(0.0, "largest rotation to either side, in degrees", group=_AUGMENTATION)
    shear: float = setting(0.0, "largest shear: sideways shift of a row over its height", group=_AUGMENTATION)
    translate: float = setting(
        0.0, "largest shift up, down, left and right, as a share of the side", group=_AUGMENTATION
    )

    def __post_init__(self) -> None:
        """Checks the values."""
        for name in ("invert", "zoom", "stretch", "shear", "translate"):
            _check(0 <= getattr(self, name) <= 1, f"{name} must be 0..1.", getattr(self, name))
        _check(0 <= self.contrast < math.inf, "contrast must be at least 0 and finite.", self.contrast)
        _check(0 <= self.brightness <= 255, "brightness must be 0..255.", self.brightness)
        _check(0 <= self.rotate <= 180, "rotate must be 0..180 degrees.", self.rotate)

    @property
    def moves_pixels(self) -> bool:
        """Whether images are zoomed, stretched, rotated, sheared or shifted at all."""
        return any((self.zoom, self.stretch, self.rotate, self.shear, self.translate))


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a run's result, apart from the records."""

    model: str = setting("compact", "architecture, which other defaults depend on", group=_TRAINING)
    epochs: int = setting(
        30,
        "passes over the training split; 0 with --follow: until stopped, at a constant learning rate after the warm-up",
        group=_TRAINING,
    )
    global_batch_size: int = setting(16, "examples per step, over all devices and hosts", group=_TRAINING)
    optimizer: str = setting("adamw", "optimizer, which other defaults depend on", choices=OPTIMIZERS, group=_TRAINING)
    learning_rate: float = setting(1.5e-3, "peak learning rate", group=_TRAINING)
    schedule: str = setting(
        "cosine",
        "learning rate after the warm-up: it falls to 0 along a cosine, or stays except for --decay",
        choices=SCHEDULES,
        group=_TRAINING,
    )
    decay: float = setting(
        0.0, "inverse decay of a constant learning rate: n steps divide it by 1 + decay * n", group=_TRAINING
    )
    warmup_epochs: float = setting(2.0, "epochs of linear warm-up", group=_TRAINING)
    weight_decay: float = setting(0.05, "weight decay of AdamW; 0 for other optimizers", group=_TRAINING)
    momentum: float = setting(0.0, "momentum of SGD", group=_TRAINING)
    nesterov: bool = setting(False, "use Nesterov's form of SGD's momentum", group=_TRAINING)
    epsilon: float = setting(1e-7, "constant added to the divisor of AdamW, Adam and Adadelta", group=_TRAINING)
    clip_norm: float = setting(5.0, "largest norm of all gradients together; 0 disables clipping", group=_TRAINING)
    keep: str = setting(
        "best",
        "epoch whose weights are kept: the best by validation accuracy, or the last; last disables early stopping",
        choices=KEEPS,
        group=_TRAINING,
    )
    patience: int = setting(15, "epochs without a better validation score before training stops", group=_TRAINING)
    label_smoothing: float = setting(0.0, "share of each target spread evenly over all classes", group=_TRAINING)
    ema_decay: float = setting(
        0.0,
        "EMA decay of the weights; 0 disables it; validation and the kept weights use the average",
        group=_TRAINING,
        old="average",
    )
    init: str | None = setting(
        None,
        "run directory whose best weights to start from, or weights that come with the package: `pretrained` for house "
        "numbers, `pretrained-mnist` for one handwritten digit",
        group=_TRAINING,
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    deterministic: bool = setting(False, "use only operations that are reproducible to the bit", group=_TRAINING)
    precision: str = setting(
        "float32", "data type that layers compute in; weights stay float32", choices=PRECISIONS, group=_TRAINING
    )
    jit_compile: bool = setting(False, "compile steps with XLA: a slower start, often faster steps", group=_TRAINING)
    seed: int = setting(0, "random seed for weights, order, augmentation and dropout", group=_TRAINING)
    follow: bool = setting(False, "train each epoch on the snapshot that is the newest at its start", group=_STREAM)
    at: int | None = setting(
        None, "number of the snapshot to train on; without it the newest one at the first start", group=_STREAM
    )
    replay: str | None = setting(
        None,
        "run that followed a stream, whose snapshots to train on again, epoch by epoch; without --config, with its "
        "settings, for the same weights",
        group=_STREAM,
    )

    def __post_init__(self) -> None:
        """Checks the values."""
        for name in ("epochs", "global_batch_size", "patience"):
            least = 0 if name == "epochs" and self.follows else 1
            _check(getattr(self, name) >= least, f"{name} must be at least {least}.", getattr(self, name))
        _check(self.at is None or self.at >= 0, "at must be at least 0.", self.at)
        rule = "--follow, --at and --replay exclude each other."
        _check(len(self.of_stream) < 2, rule, ", ".join(self.of_stream))
        for name, most in (("epochs", _MOST_EPOCHS), ("global_batch_size", MOST_EXAMPLES)):
            _check(getattr(self, name) <= most, f"{name} must be at most {most}.", getattr(self, name))
        for name in ("warmup_epochs", "weight_decay", "decay", "clip_norm"):
            _check(getattr(self, name) >= 0, f"{name} must be at least 0.", getattr(self, name))
        for name in ("label_smoothing", "ema_decay", "momentum"):
            _check(0 <= getattr(self, name) < 1, f"{name} must be 0 to below 1.", getattr(self, name))
        for name in ("warmup_epochs", "weight_decay", "learning_rate", "decay", "clip_norm", "epsilon"):
            _check(math.isfinite(getattr(self, name)), f"{name} must be finite.", getattr(self, name))
        _check(0 <= self.seed < 2**32, "seed must be 0..4294967295.", self.seed)
        for name in ("learning_rate", "epsilon"):
            _check(getattr(self, name) > 0, f"{name} must be above 0.", getattr(self, name))
        choices = {"keep": KEEPS, "precision": PRECISIONS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
        for name, allowed in choices.items():
            _check(getattr(self, name) in allowed, f"{name} must be one of {', '.join(allowed)}.", getattr(self, name))
        self._check_optimizer()

    @property
    def of_stream(self) -> list[str]:
        """Flags of the settings that choose among the snapshots of a stream, as far as they are given."""
        # A snapshot may have the number 0, which equals False.
        given = (name for name in STREAM_SETTINGS if not any(getattr(self, name) is none for none in (None, False)))
        return [f"--{name}" for name in given]

    @property
    def follows(self) -> bool:
        """Whether epochs may have different snapshots of a stream."""
        return self.follow or self.replay is not None

    def _check_optimizer(self) -> None:
        """Checks that the chosen optimizer and schedule ignore no setting."""
        if self.optimizer != "adamw":
            rule = "weight_decay must be 0 for optimizers other than adamw."
            _check(not self.weight_decay, rule, f"{self.weight_decay} for {self.optimizer}")
        if self.optimizer != "sgd":
            rule = "momentum must be 0, and nesterov off, for optimizers other than sgd."
            received = f"momentum {self.momentum}{', nesterov' if self.nesterov else ''} for {self.optimizer}"
            _check(not (self.momentum or self.nesterov), rule, received)
        else:
            rule = f"epsilon must be {TrainConfig.epsilon} for sgd, which has none."
            _check(self.epsilon == TrainConfig.epsilon, rule, self.epsilon)
        _check(self.momentum > 0 or not self.nesterov, "nesterov needs a momentum above 0.", self.momentum)
        if self.schedule != "constant":
            rule = "decay must be 0 unless the schedule is constant."
            _check(not self.decay, rule, f"{self.decay} for {self.schedule}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the values as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Returns the configuration that `to_dict` was called on.

        Raises:
          UserError: A value is out of range.
        """
        return cls(**{**values, "augment": AugmentConfig(**values["augment"])})


@dataclass(frozen=True)
class RunOptions:
    """How a run is executed; no result depends on it."""

    device: str = setting(
        "auto", "device to train on; auto: GPUs where there are any", choices=DEVICES, group=_EXECUTION
    )
    checkpoint_minutes: float = setting(
        5.0, "minutes between checkpoints; there is one after each epoch too", group=_EXECUTION
    )
    checkpoint_steps: int = setting(0, "steps between checkpoints; 0: by minutes alone", group=_EXECUTION)
    keep_checkpoints: int = setting(3, "number of newest checkpoints to keep", group=_EXECUTION)
    cache: str | None = setting(None, FOLDER_HELP, group=_EXECUTION)
    cache_size: float = setting(DEFAULT_GB, SIZE_HELP, group=_EXECUTION)
    host_minutes: float = setting(10.0, "minutes to wait for all hosts to join", group=_EXECUTION)
    allow_other_crop: bool = setting(
        False,
        "start from weights (--init) of images of the same size cut with another growth or crop size",
        group=_EXECUTION,
    )
    pin: bool = setting(
        True, "pin the snapshots of a stream that the run needs, so that the stream keeps them", group=_EXECUTION
    )
    calibrate: bool = setting(
        True,
        "at the end of the run, fit the temperature of its confidences on the validation split, if there is one",
        group=_EXECUTION,
    )
    profile: bool = setting(False, "record steps 11 to 20 of this start for TensorBoard", group=_EXECUTION)

    def __post_init__(self) -> None:
        """Checks the values."""
        _check(self.device in DEVICES, f"device must be one of {', '.join(DEVICES)}.", self.device)
        for name, least in (("checkpoint_steps", 0), ("keep_checkpoints", 1)):
            _check(getattr(self, name) >= least, f"{name} must be at least {least}.", getattr(self, name))
        for name in ("checkpoint_minutes", "host_minutes"):
            _check(getattr(self, name) > 0, f"{name} must be above 0.", getattr(self, name))
        check_cache_size(self.cache_size)
        _check(self.host_minutes <= _MOST_MINUTES, f"host_minutes must be at most {_MOST_MINUTES}.", self.host_minutes)


def present_names(values: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Returns settings with the names that they had until the last version replaced by the present ones."""
    present = old_names(config)
    return {present.get(name, name): value for name, value in values.items()}


def _check(good: bool, rule: str, received: object) -> None:
    if not good:
        raise UserError(rule, received)
