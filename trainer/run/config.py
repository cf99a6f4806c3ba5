"""How a model is trained: one frozen value, saved with the run."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tfrecords.errors import UserError

DEVICES = ("auto", "cpu", "gpu")
KEEPS = ("best", "last")
PRECISIONS = ("float32", "mixed_bfloat16")
"""What layers compute in; weights are float32 in any case.

Not mixed_float16: its small exponents want the loss scaled up, and down again where gradients overflow. Our loop does
not do that, and bfloat16, with float32's range, needs none of it.
"""


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to training pictures on the device, beside the random window.

    Attributes:
      gain: contrast is multiplied by a factor 1/(1 + gain) .. 1 + gain, per picture and per channel.
      shift: up to this is added to or taken from every channel, grey values of 255.
      invert: share of pictures whose colours are inverted, 0..1.
      zoom: pictures grow by a factor 1/(1 + zoom) .. 1 + zoom.
      stretch: height over width changes by a factor 1/(1 + stretch) .. 1 + stretch.
      rotate: turned by up to this to either side, degrees.
      shear: rows slide sideways by up to this share of their height above or below the middle.
    """

    gain: float = 0.5
    shift: float = 30.0
    invert: float = 0.5
    zoom: float = 0.0
    stretch: float = 0.0
    rotate: float = 0.0
    shear: float = 0.0

    @property
    def moves_pixels(self) -> bool:
        """Whether pictures are zoomed, stretched, turned or sheared at all."""
        return any((self.zoom, self.stretch, self.rotate, self.shear))


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
      keep: which epoch's weights are kept: the best by validation, or the last; then training never stops early.
      patience: epochs without a better validation score after which training stops.
      label_smoothing: share of each target that is spread evenly over all classes, 0 to below 1.
      average: of the weights, how much of the running average each step keeps; 0 keeps no average. The
        average is what is scored and kept.
      init: run directory whose best weights training starts from; None starts at random.
      augment: what is done to training pictures.
      deterministic: only operations whose results repeat to the bit.
      precision: what layers compute in, one of `PRECISIONS`.
      jit_compile: whether XLA compiles forward and backward pass of each replica.
      seed: of weights, order, windows, augmentation and dropout.
    """

    model: str = "compact"
    epochs: int = 30
    global_batch_size: int = 16
    learning_rate: float = 1.5e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    keep: str = "best"
    patience: int = 15
    label_smoothing: float = 0.0
    average: float = 0.0
    init: str | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    deterministic: bool = False
    precision: str = "float32"
    jit_compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        def check(good: bool, rule: str, received: object) -> None:
            if not good:
                raise UserError(rule, received)

        for name in ("epochs", "global_batch_size", "patience"):
            check(getattr(self, name) >= 1, f"{name} must be at least 1.", getattr(self, name))
        check(self.keep in KEEPS, f"keep must be one of {', '.join(KEEPS)}.", self.keep)
        check(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}.", self.precision)
        check(self.learning_rate > 0, "learning_rate must be above 0.", self.learning_rate)
        check(self.warmup_epochs >= 0, "warmup_epochs must be at least 0.", self.warmup_epochs)
        check(self.weight_decay >= 0, "weight_decay must be at least 0.", self.weight_decay)
        check(0 <= self.label_smoothing < 1, "label_smoothing must be 0 to below 1.", self.label_smoothing)
        check(0 <= self.average < 1, "average must be 0 to below 1.", self.average)
        check(0 <= self.augment.invert <= 1, "invert must be 0..1.", self.augment.invert)
        check(self.augment.gain >= 0, "gain must be at least 0.", self.augment.gain)
        check(0 <= self.augment.shift <= 255, "shift must be 0..255.", self.augment.shift)
        for name in ("zoom", "stretch", "shear"):
            check(0 <= getattr(self.augment, name) <= 1, f"{name} must be 0..1.", getattr(self.augment, name))
        check(0 <= self.augment.rotate <= 180, "rotate must be 0..180 degrees.", self.augment.rotate)

    def to_dict(self) -> dict[str, Any]:
        """Returns the values as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Returns what `to_dict` gave."""
        return cls(**{**values, "augment": AugmentConfig(**values["augment"])})


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; no result follows from it.

    Attributes:
      device: auto, cpu or gpu.
      checkpoint_minutes: between checkpoints, beside those at the end of each epoch.
      checkpoint_steps: between checkpoints; 0 leaves it to the minutes.
      keep_checkpoints: the newest that are kept.
      host_minutes: in which all hosts must have come.
      profile: whether steps 11 to 20 of a start are profiled for TensorBoard.
    """

    device: str = "auto"
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0
    keep_checkpoints: int = 3
    host_minutes: float = 10.0
    profile: bool = False

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UserError(f"device must be one of {', '.join(DEVICES)}.", self.device)
        for name, least in (("checkpoint_steps", 0), ("keep_checkpoints", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}.", getattr(self, name))
        for name in ("checkpoint_minutes", "host_minutes"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be above 0.", getattr(self, name))
