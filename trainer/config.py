"""How a model is trained: one frozen value, saved with the run."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tfrecords.errors import UserError


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to training pictures on the device, beside the random window.

    Attributes:
      gain: contrast is multiplied by a factor 1/(1 + gain) .. 1 + gain, per picture and per channel.
      shift: up to this is added to or taken from every channel, grey values of 255.
      invert: share of pictures whose colours are inverted, 0..1.
    """

    gain: float = 0.5
    shift: float = 30.0
    invert: float = 0.5


@dataclass(frozen=True)
class TrainConfig:
    """What decides a run, apart from the records.

    Attributes:
      model: architecture, one of `trainer.models.MODELS`.
      epochs: most passes over the training split.
      global_batch_size: examples a step, over all replicas.
      learning_rate: at its highest, after the warm-up; falls along a cosine to 0.
      warmup_epochs: in which the learning rate rises from 0.
      weight_decay: AdamW's.
      patience: epochs without a better validation score after which training stops.
      augment: what is done to training pictures.
      seed: of weights, order, windows, augmentation and dropout.
    """

    model: str = "compact"
    epochs: int = 30
    global_batch_size: int = 16
    learning_rate: float = 1.5e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    patience: int = 15
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        def check(good: bool, rule: str, received: object) -> None:
            if not good:
                raise UserError(rule, received)

        for name in ("epochs", "global_batch_size", "patience"):
            check(getattr(self, name) >= 1, f"{name} must be at least 1.", getattr(self, name))
        check(self.learning_rate > 0, "learning_rate must be above 0.", self.learning_rate)
        check(self.warmup_epochs >= 0, "warmup_epochs must be at least 0.", self.warmup_epochs)
        check(self.weight_decay >= 0, "weight_decay must be at least 0.", self.weight_decay)
        check(0 <= self.augment.invert <= 1, "invert must be 0..1.", self.augment.invert)
        check(self.augment.gain >= 0, "gain must be at least 0.", self.augment.gain)
        check(0 <= self.augment.shift <= 255, "shift must be 0..255.", self.augment.shift)

    def to_dict(self) -> dict[str, Any]:
        """Returns the values as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Returns what `to_dict` gave."""
        return cls(**{**values, "augment": AugmentConfig(**values["augment"])})
